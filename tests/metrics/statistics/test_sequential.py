"""Early stopping: the ratio and the sets against slow computations of them, and how often a verdict is wrong."""

from __future__ import annotations

import functools
import math
import subprocess
import sys
from collections.abc import Iterable
from typing import Any, NamedTuple, get_args

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from benchmarks.early_stopping import Stopping, early_stop, largest_passing, stopping, wald
from pytest_biastransfer.evaluation.visiting_order import chunks
from pytest_biastransfer.judgement.verdict import holds
from pytest_biastransfer.metrics.statistics.intervals import proportion
from pytest_biastransfer.metrics.statistics.limits import is_at_most
from pytest_biastransfer.metrics.statistics.sequential import (
    Prior,
    decide,
    interval,
    log_ratio,
    most_hits,
    prior_for,
    verdicts,
)
from pytest_biastransfer.names import Rule

Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

quick = settings(max_examples=60, deadline=None)
rules = st.sampled_from(get_args(Rule))
confidences = st.sampled_from([0.5, 0.8, 0.95, 0.99])
limits = st.one_of(st.sampled_from([0.0, 0.05, 0.1 * 3, 0.5, 0.95, 1.0]), st.floats(0, 1))
# Neither side of the cut is nearly impossible.
priors = st.builds(Prior, st.floats(1, 60), st.floats(1, 60), st.floats(0.02, 0.98)).filter(
    lambda prior: 1e-3 < stats.beta(prior.a, prior.b).cdf(prior.cut) < 1 - 1e-3
)
# No ratio of small whole numbers is the inverse of one of these: no ratio is at the edge.
alphas = st.sampled_from([0.0137, 0.0571, 0.213, 0.571])


class Look(NamedTuple):
    """What was seen of how many."""

    hits: int
    seen: int
    population: int

    @property
    def totals(self) -> Counts:
        """The numbers of hits in the population that what was seen leaves possible."""
        return np.arange(self.hits, self.population - (self.seen - self.hits) + 1)


@st.composite
def looks(draw: st.DrawFn, largest: int = 30) -> Look:
    population = draw(st.integers(1, largest))
    seen = draw(st.integers(0, population))
    return Look(draw(st.integers(0, seen)), seen, population)


def slow_ratio(total: Any, look: Look, prior: Prior) -> Any:
    """Compute prior / posterior, each by itself."""
    a, b, _ = prior
    misses = look.seen - look.hits
    before = stats.betabinom(look.population, a, b).pmf(total)
    rest = stats.betabinom(look.population - look.seen, a + look.hits, b + misses)
    return before / rest.pmf(np.asarray(total) - look.hits)


@functools.cache
def one_sided_mixture(hits: int, misses: int, prior: Prior, *, is_below: bool) -> float:
    """Compute the probability of a sequence if the share is drawn from a side of the prior, by integration."""
    a, b, cut = prior
    ends = (0.0, cut) if is_below else (cut, 1.0)

    def integral(hits: int, misses: int) -> float:
        found, _ = integrate.quad(
            lambda share: share ** (a - 1 + hits) * (1 - share) ** (b - 1 + misses), *ends, epsabs=0, limit=400
        )
        return float(found)

    return integral(hits, misses) / integral(0, 0)


def one_sided_ratio(total: int, look: Look, prior: Prior, *, is_below: bool) -> float:
    """Compute the ratio of a number of hits that a side of the prior speaks against."""
    misses = look.seen - look.hits
    if not look.hits <= total <= look.population - misses:
        return math.inf
    # Of all orders of the images, the share of those that begin with the sequence that was seen.
    likelihood = math.comb(look.population - look.seen, total - look.hits) / math.comb(look.population, total)
    return one_sided_mixture(look.hits, misses, prior, is_below=is_below) / likelihood


def kept(look: Look, prior: Prior, alpha: float) -> Counts:
    """Return the confidence sequence at this look, by trying every number of hits."""
    within: Counts = look.totals[slow_ratio(look.totals, look, prior) < 1 / alpha]
    return within


def full_verdict(hits: int, population: int, limit: float, rule: Rule, confidence: float) -> bool:
    """Judge the whole population, as the package does without early stopping."""
    return holds(rule, proportion(hits, population, confidence), limit)


def slow_most(population: int, limit: float, rule: Rule, confidence: float) -> int:
    held = [k for k in range(population + 1) if full_verdict(k, population, limit, rule, confidence)]
    # Up to some number of hits the limit holds, beyond it not.
    assert held == list(range(len(held)))
    return len(held) - 1


def most_of(population: int, limit: float) -> int:
    return int(most_hits(np.array([population]), limit, "point", 0.95)[0])


# --------------------------------------------------------------------------------------------- the ratio


@quick
@given(looks(), priors)
def test_ratio_is_the_prior_by_the_posterior(look: Look, prior: Prior) -> None:
    found = np.exp(log_ratio(look.totals, *look, prior))
    assert found == pytest.approx(slow_ratio(look.totals, look, prior), rel=1e-9)


@quick
@given(looks(), priors)
def test_ratio_is_infinite_where_what_was_seen_is_impossible(look: Look, prior: Prior) -> None:
    totals = np.arange(look.population + 1)
    infinite = np.isposinf(log_ratio(totals, *look, prior))
    assert np.array_equal(~infinite, np.isin(totals, look.totals))


@quick
@given(looks(), priors)
def test_ratio_is_convex_in_the_total_and_at_most_one_where_it_is_smallest(look: Look, prior: Prior) -> None:
    found = log_ratio(look.totals, *look, prior)
    assert (np.diff(found, 2) > -1e-9).all()
    assert found.min() < 1e-9


@quick
@given(looks(), priors, st.data())
def test_ratio_at_the_true_total_does_not_grow_on_average(look: Look, prior: Prior, data: st.DataObject) -> None:
    if look.seen == look.population:
        return
    total = data.draw(st.sampled_from(look.totals.tolist()))
    chance = (total - look.hits) / (look.population - look.seen)

    def ratios(at: Look) -> Floats:
        """Return the ratio by the whole prior, and by each side of it."""
        sides = [one_sided_ratio(total, at, prior, is_below=is_below) for is_below in (True, False)]
        return np.array([math.exp(log_ratio(total, *at, prior)), *sides])

    now, after = ratios(look), np.zeros(3)
    for hit, probability in ((1, chance), (0, 1 - chance)):
        if probability:
            after += probability * ratios(Look(look.hits + hit, look.seen + 1, look.population))
    assert (after <= now * (1 + 1e-6)).all()
    # It only shrinks where the next image can be guessed, as hits or misses are used up.
    assert after == pytest.approx(now, rel=1e-6) or chance in (0, 1)


@given(st.floats(-0.5, 1.5))
def test_prior_is_cut_at_the_limit_and_never_extreme(limit: float) -> None:
    a, b, cut = prior_for(limit)
    assert cut == pytest.approx(min(max(limit, 0), 1), abs=2e-6)
    assert 0 < cut < 1
    assert min(a, b) == 1
    assert max(a, b) < 1e6
    # Both sides have some of it, and that of the limit is the mirror image of the limit on the others.
    assert 0.2 < stats.beta(a, b).cdf(cut) < 0.8
    mirrored = prior_for(1 - limit)
    assert (mirrored.b, mirrored.a) == pytest.approx((a, b), rel=1e-6)


# -------------------------------------------------------------------------- the verdict on the whole


@quick
@given(st.lists(st.integers(0, 60), min_size=1, max_size=5), limits, rules, confidences)
@example([0, 1, 2, 20, 40, 60], 0.05, "significant", 0.95)
@example([1], 0.975, "certain", 0.95)
@example([1], 0.025, "significant", 0.95)
@example([7, 50], -0.1, "point", 0.95)
@example([7, 50], 1.2, "certain", 0.95)
def test_most_hits_are_those_of_judging_every_number(
    populations: list[int], limit: float, rule: Rule, confidence: float
) -> None:
    found = most_hits(np.array(populations), limit, rule, confidence)
    assert found.dtype == np.int64
    assert found.tolist() == [slow_most(n, limit, rule, confidence) for n in populations]


@pytest.mark.parametrize("rule", ["certain", "significant"])
@pytest.mark.parametrize("limit", [0.002, 0.05, 0.37, 0.96])
def test_most_hits_of_many_images_are_the_last_to_hold(rule: Rule, limit: float) -> None:
    populations = np.array([1000, 4999, 50_000])
    for population, most in zip(populations.tolist(), most_hits(populations, limit, rule, 0.95).tolist(), strict=True):
        assert most == -1 or full_verdict(most, population, limit, rule, 0.95)
        assert not full_verdict(most + 1, population, limit, rule, 0.95)


@pytest.mark.parametrize(
    ("limit", "population", "most"),
    [
        *[(0.05, 20 * n, n) for n in (1, 2, 3, 7, 250, 2500)],
        # 0.1 * 3 is above 0.3, 0.7 + 0.1 below 0.8, and 0.29 * 100 below 29: by rounding alone.
        (0.1 * 3, 10, 3),
        (0.3, 10, 3),
        (0.7 + 0.1, 10, 8),
        (0.8, 10, 8),
        (0.29, 100, 29),
        (0.57, 100, 57),
    ],
)
def test_a_share_that_is_the_limit_itself_holds(limit: float, population: int, most: int) -> None:
    assert most_of(population, limit) == most


def test_most_hits_compare_shares_as_fractions_at_every_boundary() -> None:
    for population in range(1, 90):
        for hits in range(population + 1):
            share = hits / population
            assert most_of(population, share) == hits
            assert most_of(population, math.nextafter(share, -1)) == hits
            assert most_of(population, share - 1e-9) == hits - 1


# ------------------------------------------------------------------------------- verdicts from a part


@settings(max_examples=40, deadline=None)
@given(looks(20), st.integers(0, 4), limits, rules, alphas, priors)
def test_decide_is_what_all_that_is_not_excluded_leads_to(
    look: Look, more: int, limit: float, rule: Rule, alpha: float, prior: Prior
) -> None:
    populations = range(look.population, look.population + more + 1)
    most = most_hits(np.array(populations), limit, rule, 0.8)
    outcomes = set()
    for population, largest in zip(populations, most.tolist(), strict=True):
        seen = Look(look.hits, look.seen, population)
        for total in seen.totals.tolist():
            # Each number of hits that fails is excluded by what speaks for the limit, and the others by the rest.
            if one_sided_ratio(total, seen, prior, is_below=total > largest) < 1 / alpha:
                outcomes.add(full_verdict(total, population, limit, rule, 0.8))
    expected = outcomes.pop() if len(outcomes) == 1 else None
    assert decide(look.hits, look.seen, populations, most, prior, alpha) is expected


@quick
@given(looks(), alphas, priors)
def test_interval_reaches_from_the_least_to_the_most_that_is_kept(look: Look, alpha: float, prior: Prior) -> None:
    totals = kept(look, prior, alpha)
    expected = (totals.min() / look.population, totals.max() / look.population)
    assert interval(*look, prior, alpha) == expected


@quick
@given(looks(400), limits, alphas, st.data())
def test_interval_is_never_on_the_other_side_of_the_limit_than_decide_says(
    look: Look, limit: float, alpha: float, data: st.DataObject
) -> None:
    population = range(look.population, look.population + 1)
    most = most_hits(np.array(population), limit, "point", 0.95)
    prior = data.draw(st.one_of(st.just(prior_for(limit)), priors))
    low, high = interval(*look, prior, alpha)
    decided = decide(look.hits, look.seen, population, most, prior, alpha)
    assert (
        decided is not (False if is_at_most(high, limit) else None if is_at_most(low, limit) else True)
        or decided is None
    )


@pytest.mark.parametrize(("hits", "seen"), [(0, 40_000), (40_000, 40_000), (2500, 49_999), (2000, 40_000), (0, 1)])
@pytest.mark.parametrize("limit", [0.0, 1e-4, 0.05, 0.5, 0.9999, 1.0])
def test_extreme_counts_of_many_images_give_numbers(hits: int, seen: int, limit: float) -> None:
    population = np.arange(seen, 50_001)
    with np.errstate(all="raise", under="ignore"):
        most = most_hits(population, limit, "point", 0.95)
        holds, fails = verdicts(hits, seen, population, most, prior_for(limit), 0.01)
    assert not (holds & fails).any()
    # The likeliest share is on the side that is left.
    likely = hits / seen
    assert not (holds if likely > limit + 1e-9 else fails)[population >= seen + 1000].any()


@given(st.integers(1, 400), st.data(), limits, rules, confidences, alphas)
def test_with_all_images_seen_the_verdict_is_that_on_all_images(
    population: int, data: st.DataObject, limit: float, rule: Rule, confidence: float, alpha: float
) -> None:
    hits = data.draw(st.integers(0, population))
    known = range(population, population + 1)
    most, prior = most_hits(np.array(known), limit, rule, confidence), prior_for(limit)
    expected = full_verdict(hits, population, limit, rule, confidence)
    assert decide(hits, population, known, most, prior, alpha) is expected
    assert interval(hits, population, population, prior, alpha) == (hits / population, hits / population)


def test_before_any_image_only_what_holds_or_fails_anyway_is_decided() -> None:
    images = range(100, 101)
    for limit, expected in ((0.0, None), (0.05, None), (1.0, True), (1.1, True), (-0.1, False)):
        most = most_hits(np.array(images), limit, "point", 0.95)
        assert decide(0, 0, images, most, prior_for(limit), 0.01) is expected
    assert interval(0, 0, 100, prior_for(0.05), 0.01) == (0.0, 1.0)


def test_a_limit_on_a_share_of_no_images_fails_once_that_is_known() -> None:
    maybe_some, none = range(3), range(1)
    for populations, expected in ((maybe_some, None), (none, False)):
        most = most_hits(np.array(populations), 1.0, "point", 0.95)
        assert decide(0, 0, populations, most, prior_for(1.0), 0.01) is expected
    assert interval(0, 0, 0, prior_for(1.0), 0.01) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("populations", "sizes"), [(range(0), 0), (range(30, 33), 2), (range(30, 33), 1), (range(9, 12), 3)]
)
def test_decide_refuses_populations_that_do_not_fit(populations: range, sizes: int) -> None:
    with pytest.raises(ValueError, match="do not fit"):
        decide(1, 10, populations, np.ones(sizes, dtype=np.int64), prior_for(0.05), 0.01)


def test_deciding_needs_no_scipy_stats() -> None:
    code = (
        "import sys, numpy as np\n"
        "from pytest_biastransfer.metrics.statistics.sequential import *\n"
        "assert decide(0, 500, range(900, 901), most_hits(np.array([900]), .05, 'certain', .95), prior_for(.05), .01)\n"
        "sys.exit('scipy.stats' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# ---------------------------------------------------------------------------- errors and images needed


def stopped(
    population: int, total: int, limit: float, at: Iterable[int], alpha: float = 0.01, prior: Prior | None = None
) -> Stopping:
    decision = early_stop(population, limit, alpha, prior)
    return stopping(population, total, largest_passing(population, limit), at, decision)


# Most verdicts are wrong next to the limit, and where there is a look after each image.
@pytest.mark.parametrize(
    ("offset", "step"), [*[(offset, 64) for offset in (-100, -20, -1, 0, 1, 2, 20, 100)], (-20, 1), (0, 1), (1, 1)]
)
def test_few_verdicts_of_5000_images_are_wrong(offset: int, step: int) -> None:
    found = stopped(5000, 250 + offset, 0.05, range(step, 5000, step))
    assert found.wrong <= 0.01
    # Where the share is far off the limit it is hardly ever wrong, where it is near it takes nearly all images.
    assert found.wrong <= 0.001 or abs(offset) <= 20
    assert found.images > 4700 or abs(offset) > 2


@pytest.mark.parametrize(
    ("population", "limit", "alpha"), [(1000, 0.3, 0.05), (2000, 0.01, 0.1), (300, 0.0, 0.05), (300, 1 / 3, 0.2)]
)
def test_few_verdicts_are_wrong_for_other_limits_and_alphas(population: int, limit: float, alpha: float) -> None:
    most = most_of(population, limit)
    each = range(1, population)
    wrong = [stopped(population, total, limit, each, alpha).wrong for total in range(most, most + 4)]
    assert max(wrong) <= alpha
    # The error that is allowed is made use of: it is what stopping early costs.
    assert max(wrong) > alpha / 4


@pytest.mark.parametrize("offset", [0, 1, 10])
def test_simulated_runs_are_wrong_as_often_as_computed(offset: int) -> None:
    population, total, step, alpha, runs = 2000, 100 + offset, 64, 0.1, 10_000
    generator, prior = np.random.default_rng(offset), prior_for(100.5 / population)
    hits, undecided, wrong = np.zeros(runs, dtype=np.int64), np.ones(runs, dtype=np.bool_), 0
    for seen in range(step, population, step):
        left = total - hits
        hits += generator.hypergeometric(left, population - (seen - step) - left, step)
        possible = np.arange(hits.max() + 1)
        passed, failed = (side[hits] & undecided for side in verdicts(possible, seen, population, 100, prior, alpha))
        wrong += int(np.count_nonzero(passed if offset else failed))
        undecided &= ~(passed | failed)
    expected = stopped(population, total, 0.05, range(step, population, step), alpha).wrong
    assert wrong / runs == pytest.approx(expected, abs=4 * math.sqrt(expected / runs))
    assert wrong / runs <= alpha


@pytest.mark.parametrize("offset", [0, 1, 8])
def test_few_verdicts_are_wrong_where_the_number_of_images_that_count_is_unknown(offset: int) -> None:
    """Of 400 images an unknown 240 count, such as the rightly classified ones, and some of these are hits."""
    population, counting, step, limit, alpha, runs = 400, 240, 50, 0.1, 0.1, 10_000
    total = 24 + offset
    most, prior = most_hits(np.arange(population + 1), limit, "point", 0.95), prior_for(limit)
    generator = np.random.default_rng(offset)
    hits, seen = np.zeros(runs, dtype=np.int64), np.zeros(runs, dtype=np.int64)
    verdict = np.full(runs, None, dtype=object)
    for looked in range(step, population + 1, step):
        unseen = counting - seen
        drawn = generator.hypergeometric(unseen, population - (looked - step) - unseen, step)
        # Without any to draw numpy would refuse to draw none.
        found = np.where(drawn > 0, generator.hypergeometric(total - hits, unseen - (total - hits), drawn), 0)
        hits, seen = hits + found, seen + drawn
        cases, which = np.unique(np.stack([hits, seen]), axis=1, return_inverse=True)
        hit_counts, seen_counts = cases.tolist()
        sizes = [range(n, population - (looked - n) + 1) for n in seen_counts]
        answers = [
            decide(h, s.start, s, most[s.start : s.stop], prior, alpha) for h, s in zip(hit_counts, sizes, strict=True)
        ]
        verdict = np.where(verdict == None, np.array(answers, dtype=object)[which.reshape(-1)], verdict)  # noqa: E711
        if looked == population // 2:
            early = np.count_nonzero(verdict != None)  # noqa: E711
    assert set(verdict.tolist()) <= {True, False}
    wrong = np.count_nonzero(verdict != (offset == 0)) / runs
    assert 0 < wrong <= alpha
    assert early > 50


# Times the images of the test that knows the truth: with the looks that there are, and after each image.
@pytest.mark.parametrize("each", [False, True])
@pytest.mark.parametrize("share", [0.005, 0.01, 0.02, 0.1, 0.2])
def test_few_more_of_50000_images_are_needed_than_if_the_share_were_known(share: float, each: bool) -> None:
    population, limit, total = 50_000, 0.05, round(share * 50_000)
    at = range(1, population) if each else [chunk.stop for chunk in chunks(population)]
    found = stopped(population, total, limit, at)
    known = stopping(population, total, largest_passing(population, limit), at, wald(population, total, limit, 0.01))
    assert found.images <= 1.25 * known.images
    assert max(found.wrong, known.wrong) <= 0.01
    # The prior that knows the limit needs fewer images than the one that does not.
    assert found.images < stopped(population, total, limit, at, prior=Prior(1, 1, limit)).images


def test_a_clear_share_of_50000_images_takes_a_look_or_two() -> None:
    population = 50_000
    at = [chunk.stop for chunk in chunks(population)]
    assert stopped(population, 0, 0.05, at).images == pytest.approx(128)
    assert stopped(population, 10_000, 0.05, at).images < 80
