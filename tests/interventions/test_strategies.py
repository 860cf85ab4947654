"""The strategies draw every kind of intervention, and every kind keeps its promises."""

from __future__ import annotations

import dataclasses
import math
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import Phase, assume, find, given, settings
from hypothesis import strategies as st
from PIL import Image

from pytest_biastransfer import (
    JPEG,
    Background,
    Border,
    Circle,
    Composition,
    Custom,
    Intervention,
    Occlude,
    OneOf,
    Random,
    Rectangle,
    Ring,
    Sometimes,
    Square,
    Stencil,
    Stripes,
    Text,
    Triangle,
)
from pytest_biastransfer.errors import InterventionError
from pytest_biastransfer.interventions.parsing import from_table, kinds, read
from pytest_biastransfer.interventions.placement import ANCHORS, Placed
from pytest_biastransfer.strategies import anchors, colors, interventions, patches, single_interventions

# A blur adds up to 9,000 products in single precision, in whatever order is fastest; a level of 8 bits is 4e-3.
ROUNDING = 1e-5
quick = settings(max_examples=25, deadline=None, phases=[Phase.explicit, Phase.generate, Phase.shrink])


@pytest.fixture(scope="module")
def logo(tmp_path_factory: pytest.TempPathFactory) -> str:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 4), dtype=np.uint8)
    path = tmp_path_factory.mktemp("art") / "logo.png"
    Image.fromarray(pixels).save(path)
    return str(path)


NEEDS_MORE = {"Stencil", "Background", "Occlude", "Composition"}
EVERY: Mapping[str, Any] = {
    kind.__name__: strategy for kind, strategy in single_interventions().items()
} | dict.fromkeys(sorted(NEEDS_MORE))
every = pytest.mark.parametrize("name", EVERY)


def of_kind(name: str, logo: str) -> st.SearchStrategy[Any]:
    """Return a strategy for one kind; those that need a file or a mask have it."""
    sizes = st.integers(16, 64).map(lambda step: step / 64)
    if name == "Stencil":
        return st.builds(Stencil, st.just(logo), size=sizes, anchor=anchors(), angle=st.sampled_from([0.0, 30.0]))
    if name in ("Background", "Occlude"):
        kind: Any = Background if name == "Background" else Occlude
        return st.builds(kind, st.just("object"), fill=st.one_of(colors(), single_interventions()[Stripes]))
    if name == "Composition":
        one = st.one_of([EVERY[kind] for kind in EVERY if EVERY[kind] is not None])
        return st.lists(one, min_size=2, max_size=3).map(lambda steps: Composition(steps=tuple(steps)))
    found: st.SearchStrategy[Any] = EVERY[name]
    return found


def some_images(
    seed: int, count: int = 4, channels: int = 3, size: tuple[int, int] = (32, 40), dtype: torch.dtype = torch.float32
) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, channels, *size, generator=generator, dtype=torch.float64).to(dtype)


def masks_for(images: torch.Tensor) -> dict[str, torch.Tensor]:
    mask = torch.zeros(len(images), 1, *images.shape[2:], dtype=images.dtype)
    for place in range(len(images)):
        mask[place, :, 4 + place : 20, 6 : 24 - place] = 1
    mask[:, :, 10] = 0.5
    return {"object": mask}


def test_every_kind_is_drawn() -> None:
    drawn = {kind.__name__ for kind in single_interventions()}
    assert drawn | NEEDS_MORE == set(kinds())


# ----------------------------------------------------------------------------------------- promises


@every
def test_a_new_tensor_of_the_same_form_in_range_that_is_the_same_each_time(name: str, logo: str) -> None:
    @quick
    @given(of_kind(name, logo), st.integers(0, 99), st.sampled_from([1, 3]), st.sampled_from(["32", "64"]))
    def check(intervention: Intervention, seed: int, channels: int, bits: str) -> None:
        images = some_images(seed, channels=channels, dtype=getattr(torch, f"float{bits}"))
        before, masks = images.clone(), masks_for(images)
        changed = intervention.apply(images, masks=masks)
        assert (changed.shape, changed.dtype, changed.device) == (images.shape, images.dtype, images.device)
        assert changed.min() >= 0
        assert changed.max() <= 1
        assert torch.equal(images, before)
        assert changed.untyped_storage().data_ptr() != images.untyped_storage().data_ptr()
        torch.rand(3), np.random.random()
        assert torch.equal(intervention.apply(images, masks=masks), changed)

    check()


@every
def test_images_change_alike_one_by_one_and_in_any_batches(name: str, logo: str) -> None:
    @quick
    @given(of_kind(name, logo), st.integers(0, 99), st.integers(1, 4))
    def check(intervention: Intervention, seed: int, size: int) -> None:
        images, indices = some_images(seed, count=5), [7, 0, 123456, 3, 2]
        masks = masks_for(images)
        whole = intervention.apply(images, indices, masks)
        parts = [
            intervention.apply(images[i : i + size], indices[i : i + size], {"object": masks["object"][i : i + size]})
            for i in range(0, 5, size)
        ]
        torch.testing.assert_close(torch.cat(parts), whole, rtol=0, atol=ROUNDING)

    check()


@every
def test_single_and_double_precision_agree(name: str, logo: str) -> None:
    @quick
    @given(of_kind(name, logo), st.integers(0, 99))
    def check(intervention: Intervention, seed: int) -> None:
        # What JPEG rounds to 8 bits depends on the last bit, unless it has 8 bits already.
        assume(not (isinstance(intervention, Composition) and any(isinstance(one, JPEG) for one in intervention.steps)))
        double = some_images(seed, dtype=torch.float64)
        double = (double * 255).round() / 255 if isinstance(intervention, JPEG) else double
        single = intervention.apply(double.float(), masks=masks_for(double.float()))
        exact = intervention.apply(double, masks=masks_for(double))
        torch.testing.assert_close(single.double(), exact, rtol=0, atol=2 * ROUNDING)

    check()


def region_of(intervention: Any, height: int, width: int) -> torch.Tensor:
    """Return the pixels that a declaration allows to change, from its words: the box, turned by any angle."""
    allowed = torch.zeros(height, width, dtype=torch.bool)
    if isinstance(intervention, Border):
        edge = round(intervention.width * min(height, width))
        allowed[:] = True
        allowed[edge : height - edge, edge : width - edge] = False
        return allowed
    side = min(height, width)
    across, down = (round(share * side) for share in intervention.box)
    border = round(intervention.margin * side)
    fractions = ANCHORS[intervention.anchor] if isinstance(intervention.anchor, str) else intervention.anchor
    left = border + math.floor(fractions[0] * max(width - across - 2 * border, 0))
    top = border + math.floor(fractions[1] * max(height - down - 2 * border, 0))
    reach_x, reach_y = 0, 0
    if intervention.angle and getattr(intervention, "turns_box", True):
        diagonal = math.hypot(across, down)
        reach_x, reach_y = (math.ceil((diagonal - own) / 2) + 1 for own in (across, down))
    allowed[max(top - reach_y, 0) : top + down + reach_y, max(left - reach_x, 0) : left + across + reach_x] = True
    return allowed


DRAWN = [name for name, kind in kinds().items() if issubclass(kind, Placed) or kind is Border]


@pytest.mark.parametrize("name", DRAWN)
def test_only_the_declared_region_changes(name: str, logo: str) -> None:
    @settings(quick, max_examples=50)
    @given(of_kind(name, logo), st.integers(0, 99))
    def check(intervention: Intervention, seed: int) -> None:
        images = some_images(seed, size=(48, 33))
        changed = intervention.apply(images)
        outside = ~region_of(intervention, 48, 33)
        assert torch.equal(changed[:, :, outside], images[:, :, outside])

    check()


@pytest.mark.parametrize("name", ["Background", "Occlude"])
def test_only_the_declared_part_by_the_mask_changes(name: str, logo: str) -> None:
    @quick
    @given(of_kind(name, logo), st.integers(0, 99))
    def check(intervention: Intervention, seed: int) -> None:
        images = some_images(seed)
        masks = masks_for(images)
        changed = intervention.apply(images, masks=masks)
        kept = (masks["object"] == float(name == "Background")).expand_as(images)
        assert torch.equal(changed[kept], images[kept])

    check()


# ------------------------------------------------------------------------------------------- scales


def covered(intervention: Any, side: int) -> torch.Tensor:
    """Return where white is drawn on black."""
    drawn: torch.Tensor = intervention.apply(torch.zeros(1, 1, side, side))[0, 0] > 0.5
    return drawn


def neighbourhood(mask: torch.Tensor, every_pixel: bool) -> torch.Tensor:
    """Return where all, or any, of the nine pixels around each are in the mask."""
    values = (~mask if every_pixel else mask).float()[None, None]
    found = torch.nn.functional.max_pool2d(values, 3, stride=1, padding=1)[0, 0] > 0
    return ~found if every_pixel else found


sizes = st.integers(16, 64).map(lambda step: step / 64)
white: dict[str, Any] = {"color": st.just("white"), "size": sizes, "anchor": st.sampled_from(list(ANCHORS))}
placed = white | {"margin": st.sampled_from([0.0, 0.125]), "angle": st.sampled_from([0.0, 90.0, 30.0, -75.0])}


@pytest.mark.parametrize(
    "strategy",
    [
        *(st.builds(kind, **placed) for kind in (Square, Circle, Triangle)),
        st.builds(Rectangle, **placed | {"size": st.sampled_from([0.5, 0.8])}, aspect=st.sampled_from([0.5, 2.0])),
        st.builds(Ring, **placed, thickness=st.sampled_from([0.5, 1.0])),
        st.builds(Border, width=st.integers(2, 32).map(lambda step: step / 64), color=st.just("white")),
        st.builds(Text, st.sampled_from(["I", "L.", "HO"]), **white | {"size": st.sampled_from([0.75, 1.0])}),
    ],
    ids=["square", "circle", "triangle", "rectangle", "ring", "border", "text"],
)
@pytest.mark.parametrize("side", [32, 64, 128, 256])
def test_a_declaration_is_the_same_at_every_resolution(strategy: st.SearchStrategy[Any], side: int) -> None:
    @quick
    @given(strategy)
    def check(intervention: Any) -> None:
        small, large = covered(intervention, side), covered(intervention, 512)
        blocks = large.reshape(side, 512 // side, side, 512 // side).float().mean(dim=(1, 3))
        # What is drawn in a pixel at the one is drawn in it, or in one beside it, at the other.
        assert not (small & ~neighbourhood(blocks > 0, every_pixel=False)).any()
        assert not (~small & neighbourhood(blocks == 1, every_pixel=True)).any()

    check()


# ------------------------------------------------------------------------------------- declarations


def as_toml(value: Any) -> str:
    """Write a declaration as somebody writes it into a file of TOML."""
    if isinstance(value, Intervention):
        fields = [f"type = {as_toml(type(value).__name__)}"]
        for field in dataclasses.fields(value):
            one = getattr(value, field.name)
            if field.init and one is not None and not (field.name == "steps" and one == ()):
                fields.append(f"{field.name} = {as_toml(one)}")
        return "{ " + ", ".join(fields) + " }"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
    if isinstance(value, Sequence):
        return f"[{', '.join(map(as_toml, value))}]"
    return repr(value)


@every
def test_a_declaration_survives_its_text_and_toml(name: str, logo: str) -> None:
    @settings(quick, max_examples=30)
    @given(of_kind(name, logo))
    def check(intervention: Intervention) -> None:
        for again in (
            read(repr(intervention)),
            from_table(tomllib.loads(f"it = {as_toml(intervention)}")["it"], "it", Path.cwd()),
        ):
            assert again == intervention
            assert again.fingerprint == intervention.fingerprint
            assert again.label == intervention.label
            assert repr(again) == repr(intervention)

    check()


@every
def test_equal_fingerprints_are_equal_declarations_and_equal_pixels(name: str, logo: str) -> None:
    @settings(quick, max_examples=30)
    @given(of_kind(name, logo), of_kind(name, logo))
    def check(one: Intervention, other: Intervention) -> None:
        assert (one.fingerprint == other.fingerprint) == (one == other)
        images = some_images(1, count=2)
        masks = masks_for(images)
        same = torch.equal(one.apply(images, masks=masks), other.apply(images, masks=masks))
        assert same or one.fingerprint != other.fingerprint

    check()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Square(anchor=(0, 1)), Square(anchor="bottom-left")),
        (Square(anchor=(0.5, 0.5)), Square(anchor="center")),
        (Circle(angle=360), Circle()),
        (Triangle(angle=-315), Triangle(angle=45)),
        (Stripes(angle=540), Stripes(angle=180)),
        (Square(color="Yellow"), Square(color="#FFFF00")),
        (Random(Square(anchor="right")), Random(Square())),
        (Custom(abs, name="magnitude"), Custom(abs)),
        (Text("A"), Text("A", color=[255, 255, 255])),
    ],
)
def test_what_renders_alike_by_definition_has_one_fingerprint(one: Intervention, other: Intervention) -> None:
    assert one == other
    assert one.fingerprint == other.fingerprint


def test_another_version_of_what_draws_is_another_fingerprint(monkeypatch: pytest.MonkeyPatch, logo: str) -> None:
    drawn_by_pillow = [Text("A"), Stencil(logo), JPEG(), Sometimes(JPEG()), Square() | Text("A"), OneOf([JPEG()])]
    before = [one.fingerprint for one in (*drawn_by_pillow, Square())]
    monkeypatch.setattr("pytest_biastransfer.interventions.base.versions", lambda names: dict.fromkeys(names, "99"))
    after = [one.fingerprint for one in (*drawn_by_pillow, Square())]
    assert [one != other for one, other in zip(before, after, strict=True)] == [True] * 6 + [False]


# --------------------------------------------------------------------------------------- strategies


@quick
@given(patches(0.1, 0.5, colors=st.just((1, 2, 3)), anchors=st.just("top"), shapes=[Circle, Triangle]))
def test_patches_are_as_they_were_asked_for(patch: Any) -> None:
    assert 0.1 <= patch.size <= 0.5
    assert (patch.color, patch.anchor) == ((1, 2, 3), "top")
    assert type(patch) in (Circle, Triangle)


@quick
@given(colors(), anchors())
def test_colours_and_anchors_are_those_of_declarations(color: Any, anchor: Any) -> None:
    assert Square(color=color, anchor=anchor).color == color


def test_what_is_drawn_shrinks_to_the_plainest() -> None:
    assert find(patches(), lambda patch: True) == Square(size=1 / 32, color=(0, 0, 0))
    assert find(interventions(), lambda one: True) is not None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"min_size": 0}, "patches: min_size=0, max_size=0.25, expected two numbers above 0"),
        ({"min_size": 0.5}, "patches: min_size=0.5, max_size=0.25, expected"),
        ({"max_size": 1.5}, "patches: min_size=0.03125, max_size=1.5"),
        ({"min_size": 0.26, "max_size": 0.261}, "no multiple of 1/64 is from 0.26 to 0.261"),
        ({"shapes": []}, r"patches: shapes=\[\], expected types of shapes"),
        ({"shapes": [Text]}, "patches: shapes=.*, expected types of shapes"),
    ],
)
def test_impossible_patches_are_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InterventionError, match=message):
        patches(**arguments)


def test_strategies_need_no_torch() -> None:
    import subprocess
    import sys

    code = (
        "import sys; from pytest_biastransfer.strategies import interventions, patches\n"
        "patches(), interventions(); print('torch' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "False\n"
