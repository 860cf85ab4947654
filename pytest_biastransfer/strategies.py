"""Hypothesis strategies for interventions: for ``@given`` tests of your own, and as the space of ``bias_search``.

They shrink to the simplest intervention: a small black square at the top left.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from pytest_biastransfer.errors import InterventionError, percent_hint
from pytest_biastransfer.interventions import (
    JPEG,
    Blur,
    Border,
    Brightness,
    Checkerboard,
    Circle,
    ColorCast,
    Composition,
    Contrast,
    GaussianPattern,
    Grayscale,
    Intervention,
    LineGrid,
    Noise,
    OneOf,
    Pattern,
    Pixelate,
    Random,
    Rectangle,
    Ring,
    Saturation,
    Sometimes,
    Square,
    Stripes,
    Text,
    Tint,
    Triangle,
    Vignette,
)
from pytest_biastransfer.interventions.placement import ANCHORS, Anchor
from pytest_biastransfer.interventions.shapes import Shape

if TYPE_CHECKING:
    from pytest_biastransfer.interventions.colors import RGB

# Sizes and other shares are multiples of 1/64: few enough for a search to cover, and exact as binary fractions.
_STEPS: Final = 64
# Levels of each colour component: 0, 51, ..., 255.
_LEVELS: Final = 6


def colors() -> SearchStrategy[RGB]:
    """Return a strategy for colours, three whole numbers from 0 to 255, in six levels each.

    Examples
    --------
    >>> from hypothesis import find
    >>> find(colors(), lambda color: color[1] > 200)
    (0, 204, 0)
    """
    level = st.integers(0, _LEVELS - 1).map(lambda step: step * 255 // (_LEVELS - 1))
    return st.tuples(level, level, level)


def anchors() -> SearchStrategy[Anchor]:
    """Return a strategy for anchors: the nine names, and points between them.

    Examples
    --------
    >>> from hypothesis import find
    >>> find(anchors(), lambda anchor: True)
    'top-left'
    """
    eighth = st.integers(0, 8).map(lambda step: step / 8)
    return st.one_of(st.sampled_from(list(ANCHORS)), st.tuples(eighth, eighth))


def patches(
    min_size: float = 1 / 32,
    max_size: float = 1 / 4,
    *,
    colors: SearchStrategy[RGB] | None = None,
    anchors: SearchStrategy[Anchor] | None = None,
    shapes: Sequence[type[Shape]] = (Square, Circle, Triangle),
) -> SearchStrategy[Intervention]:
    """Return a strategy for shapes of one colour.

    Parameters
    ----------
    min_size, max_size
        Range of their sizes, fractions of the image's shorter side, in (0, 1].
    colors, anchors
        Strategies for these; default: `colors` and the nine names of `anchors`.
    shapes
        Types of shapes, the simplest first.

    Raises
    ------
    InterventionError
        If no multiple of 1/64 is in the range, or there are no shapes.

    Examples
    --------
    As a space to search in:

    >>> import pytest
    >>> @pytest.mark.bias_search(patches(max_size=0.2), max_asr=0.3)
    ... def test_no_small_patch_decides():
    ...     pass

    >>> from hypothesis import find
    >>> find(patches(), lambda patch: patch.color[0] > 100)
    Square(size=0.03125, anchor='top-left', color=(102, 0, 0))
    """
    numbers = [size for size in (min_size, max_size) if isinstance(size, int | float)]
    if len(numbers) != 2 or not 0 < min_size <= max_size <= 1:
        raise InterventionError(
            f"patches: min_size={min_size!r}, max_size={max_size!r}, expected two numbers above 0 and at most 1"
            f"{percent_hint(max_size)}"
        )
    for name, strategy in (("colors", colors), ("anchors", anchors)):
        if strategy is not None and not isinstance(strategy, SearchStrategy):
            raise InterventionError(f"patches: {name}={strategy!r:.60}, expected a strategy, such as st.just('red')")
    if (
        not isinstance(shapes, Sequence)
        or not shapes
        or not all(isinstance(shape, type) and issubclass(shape, Shape) for shape in shapes)
    ):
        raise InterventionError(f"patches: shapes={shapes!r}, expected types of shapes, such as [Square, Circle]")
    fields = {
        "size": _shares(min_size, max_size),
        "color": _colors() if colors is None else colors,
        "anchor": st.sampled_from(list(ANCHORS)) if anchors is None else anchors,
    }
    return st.sampled_from(list(shapes)).flatmap(lambda shape: st.builds(shape, **fields))


def interventions() -> SearchStrategy[Intervention]:
    """Return a strategy for all types of interventions that need neither a file nor a mask, and for compositions.

    All of them are large enough for images of 32 pixels and more.

    Examples
    --------
    In a test that your own code accepts any intervention:

    >>> import torch
    >>> from hypothesis import given, settings
    >>> @settings(deadline=None)
    ... @given(interventions())
    ... def test_predictions_stay_finite(intervention):
    ...     assert torch.isfinite(intervention.apply(torch.zeros(1, 3, 32, 32))).all()
    >>> test_predictions_stay_finite()
    """
    single = st.one_of(list(single_interventions().values()))
    composed = st.lists(single, min_size=2, max_size=3).map(lambda steps: Composition(steps=tuple(steps)))
    return st.one_of(single, composed)


def single_interventions() -> dict[type[Intervention], SearchStrategy[Intervention]]:
    """Return a strategy for each type of intervention that needs neither a file nor a mask.

    Examples
    --------
    >>> from hypothesis import find
    >>> find(single_interventions()[Brightness], lambda brighter: brighter.factor > 1.5)
    Brightness(factor=1.625)
    """
    mixing: dict[str, Any] = {"opacity": _shares(1 / 8, 1), "blend": _BLENDS}
    placed = {
        "size": _shares(1 / 4, 1),
        "color": colors(),
        "anchor": anchors(),
        "angle": st.one_of(st.just(0.0), st.integers(-12, 12).map(lambda step: step * 15.0)),
        "margin": st.sampled_from([0.0, 0.125]),
    }
    common = placed | mixing
    seeds = st.integers(0, 99)
    factors = st.integers(0, 16).filter(lambda step: step != 8).map(lambda step: step / 8)
    shapes: SearchStrategy[Any] = st.builds(Square, **common)
    numbers = st.integers(-8, 16).map(lambda step: step / 8)
    by_type: dict[type[Intervention], SearchStrategy[Any]] = {
        Square: shapes,
        **{kind: st.builds(kind, **common) for kind in (Circle, Triangle)},
        LineGrid: st.builds(LineGrid, **common, spacing=_shares(1 / 4, 1), thickness=_shares(1 / 2, 1)),
        Rectangle: st.builds(
            Rectangle, **common | {"size": _shares(1 / 2, 1)}, aspect=st.sampled_from([0.5, 2.0, 3.0])
        ),
        Ring: st.builds(Ring, **common, thickness=_shares(1 / 4, 1)),
        Checkerboard: st.builds(Checkerboard, **common, cells=st.integers(1, 4)),
        # Longer texts, and those of dots only, could be thinner than a pixel.
        Text: st.builds(Text, st.text("ABC xyz", min_size=1, max_size=4).filter(str.strip), **common),
        Stripes: st.builds(Stripes, period=_shares(1 / 8, 1), color=colors(), width=_shares(1 / 4, 1), **mixing),
        GaussianPattern: st.builds(GaussianPattern, scale=_shares(1 / 64, 1), cells=st.integers(1, 32), seed=seeds),
        Noise: st.builds(Noise, scale=_shares(1 / 64, 1), seed=seeds),
        Pattern: st.builds(Pattern, st.lists(st.tuples(numbers, numbers), min_size=1, max_size=3)),
        Grayscale: st.just(Grayscale()),
        Tint: st.builds(Tint, color=colors(), strength=_shares(1 / 64, 1)),
        ColorCast: st.builds(ColorCast, matrix=st.tuples(numbers, numbers, numbers).filter((1.0, 1.0, 1.0).__ne__)),
        **{kind: st.builds(kind, factor=factors) for kind in (Brightness, Contrast, Saturation)},
        Blur: st.builds(Blur, sigma=_shares(1 / 64, 1 / 4)),
        Pixelate: st.builds(Pixelate, cells=st.integers(1, 64)),
        JPEG: st.builds(JPEG, quality=st.integers(1, 100)),
        Border: st.builds(Border, width=_shares(1 / 32, 1 / 2), color=colors()),
        Vignette: st.builds(Vignette, strength=_shares(1 / 64, 1)),
    }
    by_type[Random] = st.builds(Random, shapes, seed=seeds)
    inner: SearchStrategy[Any] = st.one_of([shapes, by_type[Tint]])
    by_type[Sometimes] = st.builds(Sometimes, inner, probability=_shares(1 / 64, 1), seed=seeds)
    by_type[OneOf] = st.builds(OneOf, st.lists(inner, min_size=2, max_size=3), seed=seeds)
    return by_type


_colors = colors
_BLENDS: Final = st.sampled_from(["over", "add", "multiply", "screen"])


def _shares(low: float, high: float) -> SearchStrategy[float]:
    """Return a strategy for the multiples of 1/64 in a range, which shrinks to the smallest."""
    least, most = math.ceil(low * _STEPS), math.floor(high * _STEPS)
    if least > most:
        raise InterventionError(f"no multiple of 1/{_STEPS} is from {low:g} to {high:g}; make the range wider")
    return st.integers(least, most).map(lambda step: step / _STEPS)
