"""What a limit is compared with: the observed value or its interval; and with what the control model does."""

from __future__ import annotations

import math
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_biastransfer.errors import BiasTransferError
from pytest_biastransfer.judgement.expectation import Expectation
from pytest_biastransfer.judgement.verdict import LimitVerdict, holds, images_to_be_certain, judge
from pytest_biastransfer.metrics.clean_performance import ClassShare, CleanPerformance
from pytest_biastransfer.metrics.image_outcomes import outcomes_of
from pytest_biastransfer.metrics.measurement import Measurement, Provenance
from pytest_biastransfer.metrics.paired_predictions import MetricInputs, PairedPredictions
from pytest_biastransfer.metrics.statistics.estimate import Estimate
from pytest_biastransfer.metrics.statistics.intervals import proportion
from pytest_biastransfer.metrics.statistics.limits import is_at_most
from pytest_biastransfer.names import Bound, Rule
from tests.conftest import ALWAYS_BLUE, Run, each_mode

# asr = skew = 0.25 on 20 images: the interval is 0.087 to 0.491.
RULES = """
import pytest

@pytest.mark.bias_intervention("yellow-square", max_asr=0.3, rule="{rule}")
@pytest.mark.bias_intervention("grayscale", max_asr=0.6, rule="{rule}")
def test_rule():
    pass

@pytest.mark.bias_intervention("yellow-square", max_asr={limit}, rule="{rule}")
def test_limit():
    pass
"""


def measured(asr: int, n: int) -> Measurement:
    """A measurement with only an asr, of so many of n images."""
    none = np.zeros(n, dtype=np.int64)
    outcomes = outcomes_of(MetricInputs(PairedPredictions(none, none, None)), np.arange(n))
    return Measurement(
        model="model", dataset="images", intervention="square", n=n, total=n, estimates={"asr": proportion(asr, n)},
        clean=CleanPerformance(n, None, 2, 1, ClassShare("a", 1.0), ClassShare("a", 1.0), ""),
        clean_shares=np.ones(2) / 2, class_shift=np.zeros(2), class_names=["a", "b"], flips=[], control=None, computed=0, early=None,
        provenance=Provenance("m", "d"), outcomes=outcomes,
    )  # fmt: skip


SIGNED = Estimate(-0.1, low=-0.2, high=0.05, confidence=0.95, n=100)


@pytest.mark.parametrize(
    ("bound", "limit", "expected"),
    [
        ("size at most", 0.3, {"point": True, "certain": True, "significant": True}),
        ("size at most", 0.15, {"point": True, "certain": False, "significant": True}),
        ("size at most", 0.05, {"point": False, "certain": False, "significant": True}),
        ("at most", 0.0, {"point": True, "certain": False, "significant": True}),
        ("at least", -0.3, {"point": True, "certain": True, "significant": True}),
        ("at least", -0.15, {"point": True, "certain": False, "significant": True}),
        ("at least", 0.0, {"point": False, "certain": False, "significant": True}),
        ("at least", 0.1, {"point": False, "certain": False, "significant": False}),
    ],
)
def test_a_signed_value_is_limited_from_either_side(bound: Bound, limit: float, expected: dict[Rule, bool]) -> None:
    assert {rule: holds(rule, SIGNED, limit, bound) for rule in get_args(Rule)} == expected


def test_a_size_whose_interval_excludes_0_is_significantly_above_a_small_limit() -> None:
    negative = Estimate(-0.3, low=-0.4, high=-0.2, confidence=0.95, n=100)
    assert not holds("significant", negative, 0.1, "size at most")
    assert holds("significant", negative, 0.2, "size at most")
    assert LimitVerdict("gap", 0.25, "point", negative, False, "size at most").note == "not significant"
    assert LimitVerdict("gap", -0.35, "point", negative, True, "at least").note == "within noise"
    assert LimitVerdict("gap", -0.5, "point", negative, True, "at least").note == ""


@given(st.integers(1, 300), st.data(), st.floats(0.01, 1), st.sampled_from(get_args(Rule)))
def test_rules_compare_the_value_or_an_end_of_the_interval(
    n: int, data: st.DataObject, limit: float, rule: Rule
) -> None:
    estimate = proportion(data.draw(st.integers(0, n)), n)
    expected = {
        "point": is_at_most(estimate, limit),
        "certain": is_at_most(estimate.low, limit) and is_at_most(estimate.high, limit),
        "significant": is_at_most(estimate.low, limit) or is_at_most(estimate.high, limit),
    }
    assert holds(rule, estimate, limit) == expected[rule]


@given(st.integers(1, 300), st.data(), st.floats(0, 1))
def test_what_is_certain_holds_and_what_holds_is_not_significantly_above(
    n: int, data: st.DataObject, limit: float
) -> None:
    estimate = proportion(data.draw(st.integers(0, n)), n)
    verdicts = [holds(rule, estimate, limit) for rule in ("certain", "point", "significant")]
    assert verdicts == sorted(verdicts)


@pytest.mark.parametrize("rule", get_args(Rule))
def test_an_undefined_value_never_holds(rule: Rule) -> None:
    assert not holds(rule, proportion(0, 0), 1.0)


@given(st.floats(0.001, 0.999), st.sampled_from([0.8, 0.95, 0.999]))
def test_images_to_be_certain_are_the_fewest_whose_interval_ends_below_the_limit(
    limit: float, confidence: float
) -> None:
    needed = int(images_to_be_certain(limit, confidence))
    assert proportion(0, needed, confidence).high <= limit * (1 + 1e-9)
    assert needed == 1 or proportion(0, needed - 1, confidence).high > limit * (1 - 1e-9)


def test_no_number_of_images_is_certain_of_zero_and_any_is_of_one() -> None:
    assert images_to_be_certain(0.0, 0.95) == math.inf
    assert images_to_be_certain(1.0, 0.95) == 0


@pytest.mark.parametrize(
    ("limit", "message"),
    [(0.05, "max_asr=0.05 .* n = 71: .* at least 72 images are needed"), (0.0, "no number of images is enough")],
)
def test_too_few_images_to_ever_be_certain(limit: float, message: str) -> None:
    expectation = Expectation((("asr", limit),), rule="certain")
    with pytest.raises(BiasTransferError, match=message):
        judge(expectation, measured(0, 71))
    assert not judge(Expectation((("asr", 0.05),), rule="certain"), measured(1, 72)).holds
    assert judge(Expectation((("asr", 0.05),), rule="certain"), measured(0, 72)).holds


@pytest.mark.parametrize(
    ("rule", "limit", "holds", "note"),
    [
        ("point", 0.3, True, "within noise"),
        ("point", 0.2, False, "not significant"),
        ("point", 0.5, True, ""),
        ("point", 0.05, False, ""),
        ("certain", 0.3, False, "not certain"),
        ("certain", 0.2, False, "not significant"),
        ("certain", 0.5, True, ""),
        ("significant", 0.2, True, "not significant"),
        ("significant", 0.3, True, "within noise"),
        ("significant", 0.5, True, ""),
        ("significant", 0.05, False, ""),
    ],
)
def test_a_verdict_says_how_near_it_was(rule: Rule, limit: float, holds: bool, note: str) -> None:
    verdict = judge(Expectation((("asr", limit),), rule=rule), measured(5, 20)).limits[0]
    assert (verdict.holds, verdict.note) == (holds, note)


def test_a_limit_of_one_is_never_within_noise() -> None:
    assert LimitVerdict("asr", 1.0, "point", proportion(20, 20), True).note == ""


@pytest.mark.parametrize(
    ("rule", "limit", "lines"),
    [
        (
            "point",
            0.05,
            [
                "  yellow-square  asr *0.250 *<= 0.05  FAILED   above limit",
                "  yellow-square  asr *0.250 *<= 0.3   passed   holds (within noise)",
            ],
        ),
        (
            "certain",
            0.5,
            [
                "bias: 25 % of the predictions flip with yellow-square (asr 0.250), not certainly at most 0.3",
                "  FAILED  asr  0.250  (95 % interval 0.087 to 0.491, n = 20)  limit 0.3, not certain",
                "  yellow-square  asr *0.250 *<= 0.5  passed   certain to hold",
                "  yellow-square  asr *0.250 *<= 0.3  FAILED   not certain to hold",
            ],
        ),
        (
            "significant",
            0.1,
            [
                "  yellow-square  asr *0.250 *<= 0.1  passed   above limit (not significant)",
                "  yellow-square  asr *0.250 *<= 0.3  passed   holds (within noise)",
            ],
        ),
    ],
)
def test_rules_in_a_session(run: Run, colors: pytest.Pytester, rule: str, limit: float, lines: list[str]) -> None:
    colors.makepyfile(RULES.format(rule=rule, limit=limit))
    result = run("-k", "yellow", "-v")
    for line in lines:
        result.stdout.fnmatch_lines([line])


def test_too_few_images_to_be_certain_is_an_error_and_no_verdict(run: Run, colors: pytest.Pytester) -> None:
    colors.makepyfile(
        """
        import pytest

        @pytest.mark.xfail(reason="known")
        @pytest.mark.bias_intervention("yellow-square", max_skew=0.1, rule="certain")
        def test_few():
            pass
        """
    )
    result = run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*max_skew=0.1 can never pass with rule='certain' and n = 20: *"])
    result.stdout.fnmatch_lines(["*at least 36 images are needed*"])


@each_mode
def test_the_summary_shows_both_models_beside_an_excess(run: Run, colors: pytest.Pytester) -> None:
    colors.makepyfile(
        """
        import pytest

        @pytest.mark.bias_intervention("yellow-square", max_asr_excess=0.1, max_skew_excess=0.6)
        def test_excess(bias):
            assert bias.asr_excess.low < 0.25 < bias.asr_excess.high
            assert bias.control.asr == 0

        @pytest.fixture
        def control_model():
        """
        + ALWAYS_BLUE
    )
    result = run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*asr_excess *0.250 *<= 0.1  FAILED   above limit (not significant); control 0.000",
            "*skew_excess *0.250 *<= 0.6 *holds; control 0.000",
        ]
    )


@pytest.mark.parametrize(
    ("keyword", "message"),
    [
        ("rule='sure'", "rule='sure'; *Valid: certain, point, significant"),
        ("rule=None", "rule=None; *Valid: certain, point, significant"),
        ("confidence=1", "confidence=1, expected a number above 0 and below 1, such as 0.95"),
        ("confidence=0", "confidence=0, expected a number above 0 and below 1, such as 0.95"),
        ("early_stop=1", "early_stop=1, expected a number above 0 and below 1, such as True or 0.01"),
        ("early_stop='yes'", "early_stop='yes', expected a number above 0 and below 1, such as True or 0.01"),
        ("max_regression=-0.1", "max_regression=-0.1, expected a number from 0 to 1, such as 0.01"),
        ("max_regression=None", "max_regression=None, expected a number from 0 to 1, such as 0.01"),
    ],
)
def test_bad_keywords_name_the_test_and_what_was_expected(
    run: Run, colors: pytest.Pytester, keyword: str, message: str
) -> None:
    colors.makepyfile(
        test_bad=f"""
        import pytest

        @pytest.mark.bias_intervention("yellow-square", max_asr=0.1, {keyword})
        def test_it():
            pass
        """
    )
    result = run()
    result.stdout.fnmatch_lines([f"*test_bad.py::test_it: bias_intervention: {message}"])
    assert result.ret in (pytest.ExitCode.INTERRUPTED, pytest.ExitCode.TESTS_FAILED)


@pytest.mark.parametrize("limit", ["max_asr_excess", "max_skew_excess"])
def test_an_excess_without_a_control_model_says_how_to_give_one(run: Run, colors: pytest.Pytester, limit: str) -> None:
    colors.makepyfile(
        f"""
        import pytest

        @pytest.mark.bias_intervention("yellow-square", {limit}=0.1)
        def test_it():
            pass
        """
    )
    result = run()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["*not configured. Write a fixture of that name in conftest.py:", "*def control_model(): ..."]
    )
    result.stdout.fnmatch_lines(["*bias_control_model = checkpoint:*"])


@pytest.mark.parametrize("option", ["--bias-early-stop=1", "--bias-early-stop=0", "--bias-early-stop=much"])
def test_a_probability_outside_of_0_and_1_is_a_usage_error(run: Run, option: str) -> None:
    result = run(option)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--bias-early-stop*expected a number above 0 and below 1, such as 0.01"])


@pytest.mark.parametrize("alpha", ["0", "1", "-0.5", "often"])
def test_an_alpha_outside_of_0_and_1_is_a_usage_error(run: Run, colors: pytest.Pytester, alpha: str) -> None:
    colors.makeini(f"[pytest]\nbias_alpha = {alpha}")
    result = run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*bias_alpha in the ini file: got '{alpha}', expected a number above 0 and below 1*"])
