"""Ladders: one intervention at several strengths."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_biastransfer import JPEG, Blur, Grayscale, Noise, Rectangle, Text, ladder
from pytest_biastransfer.errors import InterventionError

SHARES = st.floats(1e-6, 1.0, allow_nan=False)


@given(st.lists(SHARES, min_size=2, max_size=8, unique_by="{:g}".format), st.booleans())
def test_the_steps_have_the_values_in_their_order(values: list[float], is_descending: bool) -> None:
    values.sort(reverse=is_descending)
    blurs = ladder(Blur(stage="source"), "sigma", values)
    assert blurs.strengths == tuple(values)
    assert blurs.steps == tuple(Blur(sigma=value, stage="source") for value in values)


def test_equal_ladders_are_equal_whatever_value_the_field_had() -> None:
    assert ladder(Blur(sigma=0.5), "sigma", [0.1, 0.2]) == ladder("blur", "sigma", (0.1, 0.2))
    assert ladder(Blur(), "sigma", [0.1, 0.2]) != ladder(Blur(), "sigma", [0.1, 0.3])


def test_labels_name_the_other_fields_and_the_strengths() -> None:
    assert ladder(JPEG(), "quality", [25, 10]).label == "jpeg-quality-25-10"
    assert ladder(Noise(seed=3), "scale", [0.08, 0.12]).label == "noise-3-scale-0.08-0.12"
    assert ladder(Text("SALE", size=0.3), "opacity", [0.1, 1]).label == "text-sale-0.3-opacity-0.1-1"
    assert str(ladder(JPEG(), "quality", [25, 10])) == "ladder(JPEG(quality=20), 'quality', [25, 10])"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((Blur(), "sgima", [0.1, 0.2]), "ladder: Blur has no field 'sgima'; did you mean sigma? Valid: sigma, stage"),
        ((Grayscale() | Blur(), "sigma", [0.1, 0.2]), "ladder: Composition has no field 'sigma'; "),
        ((Blur(), "sigma", [0.1]), "ladder: Blur: sigma=[0.1], expected at least two numbers"),
        ((Blur(), "sigma", 0.1), "ladder: Blur: sigma=0.1, expected at least two numbers"),
        ((Blur(), "sigma", "12"), "ladder: Blur: sigma='12', expected at least two numbers"),
        ((Blur(), "sigma", [0.1, 0.1]), "ladder: Blur: sigma has 0.1 after 0.1, expected strictly ascending or"),
        ((Blur(), "sigma", [0.1, 0.3, 0.2]), "ladder: Blur: sigma has 0.2 after 0.3, expected strictly"),
        ((Blur(), "sigma", [0.3, 0.1, 0.2]), "ladder: Blur: sigma has 0.2 after 0.1, expected strictly"),
        ((Blur(), "sigma", [0.1, True]), "ladder: Blur: sigma has True, expected numbers"),
        ((Blur(), "sigma", [0.1, float("nan")]), "ladder: Blur: sigma has nan, expected numbers"),
        ((Blur(), "sigma", [0.1, 1.5]), "Blur: sigma=1.5, expected a number above 0 and at most 1"),
        ((JPEG(), "quality", [25, 10.5]), "JPEG: quality=10.5, expected a whole number above 0"),
        ((Rectangle(), "angle", [0, 360]), "ladder: Rectangle: two values of angle mean the same intervention"),
        (("blurr", "sigma", [0.1, 0.2]), "no intervention is named 'blurr'; did you mean blur?"),
        ((3, "sigma", [0.1, 0.2]), "ladder: got 3, expected an intervention"),
    ],
)
def test_what_is_no_ladder_is_an_error(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(InterventionError, match=f"^{re.escape(message)}"):
        ladder(*arguments)


def test_strengths_that_read_the_same_are_refused() -> None:
    with pytest.raises(InterventionError, match=r"sigma has 0.12345672 after 0.12345671, expected .* six digits"):
        ladder(Blur(), "sigma", [0.12345671, 0.12345672])
