"""Shapes: which pixels they cover, where, turned by how much, and how they are mixed with the image."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageChops, ImageDraw

from pytest_biastransfer import Checkerboard, Circle, LineGrid, Rectangle, Ring, Square, Triangle
from pytest_biastransfer.errors import InterventionError, TooSmallError
from pytest_biastransfer.interventions.placement import ANCHORS
from pytest_biastransfer.interventions.shapes import Shape

Mask = npt.NDArray[np.bool_]
Point = tuple[float, float]

quick = settings(max_examples=60, deadline=None)
EVERY = (Square, Rectangle, Circle, Ring, Triangle, Checkerboard, LineGrid)
places = st.one_of(st.sampled_from(sorted(ANCHORS)), st.tuples(st.floats(0, 1), st.floats(0, 1)))
sides = st.integers(8, 60)
placed = {"size": st.floats(0.15, 1.0), "anchor": places, "margin": st.sampled_from([0.0, 0.1, 0.25])}
angles = st.one_of(st.just(0.0), st.sampled_from([90.0, -45.0, 180.0, 30.0]), st.floats(-360, 360))


def drawn(shape: Shape, height: int, width: int) -> Mask:
    """Return the pixels that a white shape covers on black."""
    try:
        changed = shape.apply(torch.zeros(1, 1, height, width))[0, 0]
    except TooSmallError:
        return np.zeros((height, width), dtype=np.bool_)
    assert ((changed == 0) | (changed == 1)).all()
    return changed.numpy() > 0


def box_of(shape: Shape, height: int, width: int) -> tuple[int, int, int, int]:
    """Return (left, top, width, height) of a shape's box, computed from the words of the documentation."""
    side = min(height, width)
    across, down = (round(share * side) for share in shape.box)
    border = round(shape.margin * side)
    x, y = ANCHORS[shape.anchor] if isinstance(shape.anchor, str) else shape.anchor
    return (
        border + math.floor(x * max(width - across - 2 * border, 0)),
        border + math.floor(y * max(height - down - 2 * border, 0)),
        across,
        down,
    )


def inside(points: Sequence[Point], height: int, width: int) -> tuple[Mask, Mask]:
    """Return the pixels whose centres are in a convex polygon, clockwise as seen, and those too near to its edge."""
    ys, xs = np.mgrid[0:height, 0:width] + 0.5
    nearest = np.full((height, width), np.inf)
    for (x0, y0), (x1, y1) in zip(points, [*points[1:], points[0]], strict=True):
        length = math.hypot(x1 - x0, y1 - y0)
        nearest = np.minimum(nearest, ((x1 - x0) * (ys - y0) - (y1 - y0) * (xs - x0)) / length)
    return nearest > 0, np.abs(nearest) < 1e-6


def turned(points: Sequence[Point], center: Point, angle: float) -> list[Point]:
    """Turn points counterclockwise as seen: y points down."""
    turn = complex(math.cos(math.radians(angle)), -math.sin(math.radians(angle)))
    moved = [complex(x - center[0], y - center[1]) * turn for x, y in points]
    return [(point.real + center[0], point.imag + center[1]) for point in moved]


CORNERS: dict[type[Shape], Callable[[int, int, int, int], list[Point]]] = {
    Square: lambda x, y, w, h: [(x, y), (x + w, y), (x + w, y + h), (x, y + h)],
    Rectangle: lambda x, y, w, h: [(x, y), (x + w, y), (x + w, y + h), (x, y + h)],
    Triangle: lambda x, y, w, h: [(x + w / 2, y), (x + w, y + h), (x, y + h)],
}


@quick
@given(
    st.one_of(
        st.builds(Square, **placed, angle=angles, color=st.just("white")),
        st.builds(Rectangle, **placed, angle=angles, color=st.just("white"), aspect=st.sampled_from([0.5, 1.0, 3.0])),
        st.builds(Triangle, **placed, angle=angles, color=st.just("white")),
    ),
    sides,
    sides,
)
def test_polygons_cover_the_pixels_whose_centres_are_in_them(shape: Shape, height: int, width: int) -> None:
    assume(min(round(share * min(height, width)) for share in shape.box) >= 1)
    left, top, across, down = box_of(shape, height, width)
    center = left + across / 2, top + down / 2
    covered, edge = inside(turned(CORNERS[type(shape)](left, top, across, down), center, shape.angle), height, width)
    found = drawn(shape, height, width)
    assert np.array_equal(found[~edge], covered[~edge])


@quick
@given(st.builds(Ring, **placed, angle=angles, thickness=st.floats(0.05, 1.0), color=st.just("white")), sides, sides)
def test_a_ring_is_what_is_between_two_circles(ring: Ring, height: int, width: int) -> None:
    left, top, extent, _ = box_of(ring, height, width)
    ys, xs = np.mgrid[0:height, 0:width] + 0.5
    distance = np.hypot(xs - left - extent / 2, ys - top - extent / 2)
    inner = (1 - ring.thickness) * extent / 2
    edge = (np.abs(distance - extent / 2) < 1e-6) | (np.abs(distance - inner) < 1e-6)
    covered = (distance < extent / 2) & (distance > inner)
    assert np.array_equal(drawn(ring, height, width)[~edge], covered[~edge])


@pytest.mark.parametrize("cells", [1, 2, 3, 8])
def test_a_checkerboard_has_equal_fields(cells: int) -> None:
    board = drawn(Checkerboard(size=1, cells=cells, color="white"), 48, 48)
    field = 48 // cells
    ys, xs = np.mgrid[0:48, 0:48] // field
    assert np.array_equal(board, (ys + xs) % 2 == 0)


@pytest.mark.parametrize("angle", [0, 30, 45, 90])
def test_a_line_grid_has_the_density_and_the_period_of_its_lines(angle: float) -> None:
    grid = LineGrid(size=1, spacing=0.125, thickness=0.25, angle=angle, color="white")
    covered = drawn(grid, 512, 512)
    # All but the holes between the lines.
    assert covered.mean() == pytest.approx(1 - 0.75**2, abs=0.02)
    across, down = 64 * math.cos(math.radians(angle)), 64 * math.sin(math.radians(angle))
    moved = np.roll(covered, (round(down), -round(across)), (0, 1))[100:-100, 100:-100]
    assert (moved == covered[100:-100, 100:-100]).mean() > 0.95
    # The lines turn, their box does not.
    assert covered[:, 0].any()
    assert covered[0].any()


@pytest.mark.parametrize("kind", EVERY)
@pytest.mark.parametrize("side", [32, 64, 128, 256])
def test_a_shape_is_the_same_at_every_resolution_but_for_a_pixel_at_its_border(kind: Any, side: int) -> None:
    shape = kind(size=0.5, anchor="center", color="white", angle=0 if kind is LineGrid else 20)
    if kind is LineGrid:
        shape = LineGrid(size=0.5, anchor="center", color="white", spacing=0.25, thickness=0.5)
    small, large = drawn(shape, side, side), drawn(shape, 2 * side, 2 * side)
    blocks = large.reshape(side, 2, side, 2).sum(axis=(1, 3))
    # Where no pixel of a block or its neighbours is on the border, the resolutions agree.
    padded = np.pad(small, 1, mode="edge")
    around = np.stack([padded[y : y + side, x : x + side] for y in range(3) for x in range(3)])
    interior = (around.all(axis=0)) | (~around.any(axis=0))
    assert interior.any()
    assert np.array_equal(blocks[interior], 4 * small[interior])


@pytest.mark.parametrize("kind", EVERY)
def test_only_the_turned_box_changes(kind: Any) -> None:
    images = torch.rand(2, 3, 40, 56)
    for angle in (0.0, 33.0, 90.0):
        shape = kind(size=0.4, anchor=(0.3, 0.8), color="red", angle=angle, opacity=0.7)
        left, top, across, down = box_of(shape, 40, 56)
        reach = math.hypot(across, down) / 2 + 1
        ys, xs = np.mgrid[0:40, 0:56] + 0.5
        far = torch.from_numpy(np.hypot(xs - left - across / 2, ys - top - down / 2) > reach)
        changed = shape.apply(images)
        assert torch.equal(changed[:, :, far], images[:, :, far])
        assert not torch.equal(changed, images)


BLENDS: dict[str, Callable[[Any, Any], Any]] = {
    "over": lambda below, above: above,
    "add": ImageChops.add,
    "multiply": ImageChops.multiply,
    "screen": ImageChops.screen,
}


@pytest.mark.parametrize("blend", list(BLENDS))
@pytest.mark.parametrize("opacity", [1.0, 0.4])
def test_blends_are_those_of_pillow(blend: str, opacity: float) -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    below = Image.fromarray(pixels)
    above = Image.new("RGB", below.size, (200, 90, 10))
    mask = Image.new("L", below.size, 0)
    ImageDraw.Draw(mask).rectangle((6, 6, 17, 17), fill=round(255 * opacity))
    wanted = Image.composite(BLENDS[blend](below, above), below, mask)
    shape = Square(size=0.5, anchor="center", color=(200, 90, 10), opacity=opacity, blend=blend)  # type: ignore[arg-type]
    found = shape.apply(torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255)[0].permute(1, 2, 0)
    assert np.abs(found.numpy() * 255 - np.asarray(wanted)).max() <= 1.6


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Square(anchor=(0.5, 1.5)), r"Square: anchor=\(0\.5, 1\.5\), expected a name .* or \(x, y\)"),
        (lambda: Square(anchor="middle"), "Square: anchor='middle'; "),
        (lambda: Square(margin=0.5), r"Square: margin=0\.5, expected a number from 0 to below 0\.5"),
        (lambda: Square(opacity=0), "Square: opacity=0, expected a number above 0 and at most 1"),
        (lambda: Square(blend="overlay"), "Square: blend='overlay'; .*Valid: add, multiply, over, screen"),  # type: ignore[arg-type]
        (lambda: Square(angle=math.inf), "Square: angle=inf, expected a number that is finite"),
        (lambda: Rectangle(aspect=0), "Rectangle: aspect=0, expected a number above 0"),
        (lambda: Ring(thickness=2), "Ring: thickness=2, expected a number above 0 and at most 1"),
        (lambda: Checkerboard(cells=0), "Checkerboard: cells=0, expected a whole number above 0"),
        (lambda: LineGrid(spacing="wide"), "LineGrid: spacing='wide', expected a number above 0"),  # type: ignore[arg-type]
    ],
)
def test_wrong_declarations_are_named(make: Callable[[], object], message: str) -> None:
    with pytest.raises(InterventionError, match=message):
        make()


def test_a_thin_shape_that_rounds_to_no_pixel_names_the_resolution() -> None:
    with pytest.raises(InterventionError, match="rounds to no pixel on images of 32×32"):
        Rectangle(size=0.1, aspect=20).apply(torch.zeros(1, 3, 32, 32))


def test_declarations_read_as_they_were_written() -> None:
    assert repr(Square()) == "Square(size=0.25, anchor='top-left', color=(255, 255, 0))"
    shape = Ring(anchor=(0.25, 1), margin=0.1, angle=45, opacity=0.5, blend="screen")
    assert eval(repr(shape)) == shape
    assert shape.label == "ring-0.25x1-opacity-0.5-blend-screen-margin-0.1-angle-45"
    assert shape.fingerprint != Ring(anchor=(0.25, 1), margin=0.1, angle=44, opacity=0.5, blend="screen").fingerprint
