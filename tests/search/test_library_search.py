"""`scan` and `search_worst`, for notebooks: the computations of the command and of the marker."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from pytest_biastransfer import Model, Occlude, Square, measure, scan, search_worst
from pytest_biastransfer.errors import BiasTransferError
from pytest_biastransfer.interventions import BUILT_IN
from pytest_biastransfer.strategies import patches
from tests.search.test_scan import brightest, images, scanned


def test_a_ranking_has_the_figures_of_each_measurement() -> None:
    model, control = brightest(), brightest(0.5)
    ranking = scan(model, images(), control=control)
    assert sorted(entry.name for entry in ranking.entries) == BUILT_IN.names
    assert len(ranking) == len(BUILT_IN.names)
    excesses = [float(entry.figure) for entry in ranking.entries]
    assert excesses == sorted(excesses, reverse=True)
    for entry in ranking.entries:
        expected = measure(model, images(), BUILT_IN.named(entry.name), control=control)
        assert (entry.asr, entry.excess) == (expected.asr, expected.asr_excess)
        assert ranking[entry.name].skew == expected.skew
    assert ranking.worst is ranking[ranking.entries[0].name]


def test_the_command_and_the_function_compute_the_same() -> None:
    interventions = {name: BUILT_IN.named(name) for name in BUILT_IN.names}
    of_command = scanned(interventions, brightest()).ranking
    of_function = scan(brightest(), images())
    assert of_function.entries == of_command.entries
    assert of_function.to_dict()["figures"] == of_command.to_dict()["figures"]


def test_what_cannot_be_applied_is_said() -> None:
    ranking = scan(brightest(), images(), interventions={"square": Square(), "hidden": Occlude(mask="bird")})
    assert [entry.name for entry in ranking.entries] == ["square"]
    assert "bird" in ranking.skipped["hidden"]
    assert "Not measured: hidden: " in ranking._repr_html_()
    with pytest.raises(BiasTransferError, match=r"'hidden' was not measured: .*bird"):
        ranking["hidden"]
    with pytest.raises(BiasTransferError, match="'sqare' was not measured: did you mean square"):
        ranking["sqare"]


def test_a_ranking_without_entries_has_no_worst() -> None:
    ranking = scan(brightest(), images(), interventions={"hidden": Occlude(mask="bird")})
    with pytest.raises(BiasTransferError, match=r"none of the interventions could be measured: .*bird"):
        ranking.worst  # noqa: B018
    assert "none could be measured" in repr(ranking)
    assert "none could be measured" in ranking._repr_html_()
    assert len(ranking.to_frame()) == 0


def test_no_intervention_is_the_worst_where_none_has_an_effect() -> None:
    # The model says blue, whatever comes.
    ranking = scan(brightest(2.0), images(), interventions={"square": Square(), "small": Square(size=0.1)})
    assert ": none has an effect, asr is at most 0.000 [0.000, " in repr(ranking)
    assert "is the worst" not in ranking._repr_html_()
    # Both models change alike.
    beside = scan(brightest(), images(), interventions={"square": Square()}, control=brightest())
    assert beside.entries[0].asr > 0
    assert ": none has a larger effect than on the control, asr_excess is at most 0.000 [" in repr(beside)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"interventions": {}}, r"interventions=\{\}, expected interventions by name, such as \{'square': Square"),
        ({"interventions": [Square()]}, r"interventions=\[Square.*, expected interventions by name"),
        ({"interventions": {"a": 5}}, "interventions: a: got 5, expected an intervention"),
        ({"interventions": {"a": "blurr"}}, "no intervention is named 'blurr'; did you mean blur"),
        ({"max_images": 0}, "max_images=0, expected a whole number above 0"),
    ],
)
def test_what_cannot_be_scanned_says_why(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(BiasTransferError, match=message):
        scan(brightest(), images(), **changed)


def reddish(count: int = 60) -> list[Any]:
    return [(torch.tensor([0.4, 0.3, 0.3]).reshape(3, 1, 1).expand(3, 32, 32), 0)] * count


def test_the_worst_intervention_exceeds_the_limit_on_all_images() -> None:
    model = Model(brightest().module, name="brightest")
    result = search_worst(model, reddish(), patches(max_size=1.0), limit=0.5, budget=60, images=32)
    assert result.exceeds
    assert result.images == 32
    assert result.measurement.n == 60
    assert float(result.measurement.asr) == float(measure(model, reddish(), result.trial.intervention).asr) == 1.0
    frame = result.to_frame().set_index("trial")
    assert frame.loc["on all images", "value"] == 1
    assert frame.loc["on all images", "images"] == 60
    assert frame.loc["worst", "images"] == 32
    assert "above the limit 0.5" in repr(result)


def test_what_does_not_exceed_the_limit_is_said() -> None:
    result = search_worst(brightest(), reddish(), patches(max_size=0.1), limit=0.5, budget=10, images=32)
    assert not result.exceeds
    assert "asr 0.000 [0.000, 0.060], not above the limit 0.5" in result._repr_html_()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"space": Square()}, "space=Square.*, expected a strategy for interventions, such as patches"),
        ({"limit": 5}, "limit=5, expected a number from 0 to 1"),
        ({"metric": "ars"}, "metric='ars'; did you mean asr"),
        ({"budget": 0}, "budget=0, expected a whole number above 0"),
        ({"images": 1.5}, "images=1.5, expected a whole number above 0"),
        ({"confidence": 2}, "confidence=2, expected a number above 0 and below 1"),
    ],
)
def test_what_cannot_be_searched_says_why(changed: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {"space": patches(), "limit": 0.5, **changed}
    with pytest.raises(BiasTransferError, match=message):
        search_worst(brightest(), reddish(), **arguments)
