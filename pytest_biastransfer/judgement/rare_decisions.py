"""What is said of a rule that so few images can rarely decide."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pytest_biastransfer.judgement.verdict import LimitVerdict

# A rule that decides less often is worth a sentence, which says how many images it takes to decide so often.
_RARELY: Final = 0.5
_MOSTLY: Final = 0.9


def rare_decision(limit: LimitVerdict) -> str:
    """Return a sentence about a limit of a share that its rule can rarely decide; empty for any other.

    >>> from pytest_biastransfer.judgement.verdict import LimitVerdict
    >>> from pytest_biastransfer.metrics.statistics.estimate import Estimate
    >>> asr = Estimate(0.0, low=0.0, high=0.018, confidence=0.95, n=200, method="clopper-pearson")
    >>> rare_decision(LimitVerdict("asr", 0.05, "certain", asr, True)).partition(":")[0]
    'max_asr=0.05 with rule="certain" rarely passes with 200 images'
    """
    observed, rule = limit.observed, limit.rule
    is_share = observed.method == "clopper-pearson" and observed.n > 0 and limit.bound == "at most"
    if rule == "point" or not is_share or not 0 < limit.limit < 1:
        return ""
    from pytest_biastransfer.metrics.statistics.decision_power import decision_power, images_to_decide, telling_share

    power = decision_power(rule, limit.limit, observed.n, observed.confidence)
    if power >= _RARELY:
        return ""
    verb, verbs = ("pass", "passes") if rule == "certain" else ("fail", "fails")
    images = images_to_decide(rule, limit.limit, _MOSTLY, observed.confidence)
    return (
        f'max_{limit.metric}={limit.limit:g} with rule="{rule}" rarely {verbs} with {observed.n:,} images: in '
        f"{power * 100:.0f} % of the cases where the true share is {telling_share(rule, limit.limit):g}. About "
        f"{images:,} images {verb} in {_MOSTLY * 100:.0f} % (see: biastransfer power --limit={limit.limit:g} "
        f"--images={images})"
    )
