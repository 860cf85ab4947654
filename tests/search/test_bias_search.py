"""The search for the worst intervention: it finds, shrinks, confirms, remembers, and tells how to keep what it found."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.database import InMemoryExampleDatabase
from PIL import Image

from pytest_biastransfer import Blur, Circle, Custom, Grayscale, Square
from pytest_biastransfer.errors import InterventionError
from pytest_biastransfer.interventions import Intervention
from pytest_biastransfer.search.engine import SearchOutcome, search
from pytest_biastransfer.search.trials import BudgetSpent, Trials
from pytest_biastransfer.strategies import patches
from tests.conftest import MODES, Run

Evaluate = Callable[[Intervention], tuple[float, float]]


@pytest.fixture(autouse=True)
def _own_database() -> Iterator[None]:
    """Keep what inner runs in this process find away from those of other tests."""
    # Older versions cannot tell.
    before = getattr(settings, "get_current_profile_name", lambda: "default")()
    settings.register_profile("alone", database=InMemoryExampleDatabase())
    settings.load_profile("alone")
    yield
    settings.load_profile(before)


class Counted:
    """Evaluates by a function, and counts."""

    def __init__(self, value: Callable[[Any], float]) -> None:
        self.calls: list[Intervention] = []
        self._value = value

    def __call__(self, intervention: Intervention) -> tuple[float, float]:
        self.calls.append(intervention)
        value = self._value(intervention)
        return value, value - 0.01


def area(patch: Any) -> float:
    return float(patch.size**2) * (1.0 if isinstance(patch, Square) else 0.7)


def greenish(patch: Any) -> float:
    """Be high for patches that are as green and as far to the right as possible, whatever their size."""
    red, green, blue = patch.color
    right = {"right": 1.0, "left": 0.0}.get(patch.anchor.split("-")[-1], 0.5)
    return float(max(0.0, 0.6 * (green - max(red, blue)) / 255) + 0.35 * right)


def searched(value: Callable[[Any], float], **arguments: Any) -> tuple[SearchOutcome, Counted]:
    counted = Counted(value)
    trials = Trials(counted, arguments.pop("area_of", area))
    outcome = search(
        arguments.pop("space", patches()), trials, **({"limit": 0.8, "budget": 200, "seed": 0} | arguments)
    )
    return outcome, counted


# ------------------------------------------------------------------------------------------- engine


@pytest.mark.parametrize("seed", range(2))
def test_what_is_found_is_shrunk_to_the_smallest_and_plainest(seed: int) -> None:
    outcome, counted = searched(greenish, seed=seed)
    assert outcome.first is not None
    assert outcome.simplest is not None
    assert outcome.first.lower > 0.8
    plainest = outcome.simplest.intervention
    assert isinstance(plainest, Square)
    assert plainest.size == 1 / 32
    # As dark and colourless as the limit lets it.
    assert plainest.color == (0, 204, 0)
    assert str(plainest.anchor).endswith("right")
    assert len(counted.calls) == len(set(counted.calls)) == outcome.searching + outcome.shrinking
    assert outcome.searching <= 200
    assert outcome.shrinking <= 200
    assert outcome.first.number <= 200


def test_guided_by_what_it_has_seen_it_needs_fewer_evaluations_than_chance() -> None:
    class FoundError(InterventionError):
        """Nothing after the first one matters here."""

    def until_found(patch: Any) -> float:
        if greenish(patch) - 0.01 > 0.9:
            raise FoundError
        return greenish(patch)

    def evaluations(seed: int) -> int:
        counted = Counted(until_found)
        with contextlib.suppress(FoundError):
            search(patches(), Trials(counted, area), limit=0.9, budget=400, seed=seed)
            return 401
        return len(counted.calls)

    def by_chance(seed: int) -> int:
        random, draws = np.random.default_rng(seed), 0
        while True:
            draws += 1
            color = [int(level) * 51 for level in random.integers(0, 6, 3)]
            right = random.integers(9) % 3 == 2
            if max(0, 0.6 * (color[1] - max(color[0], color[2])) / 255) + 0.35 * right - 0.01 > 0.9:
                return draws

    ours, chance = (float(np.median([count(seed) for seed in range(9)])) for count in (evaluations, by_chance))
    assert ours < 0.5 * chance


def test_a_large_thing_does_not_keep_it_from_finding_a_small_one() -> None:
    def value(patch: Any) -> float:
        # Whatever is large hides the object; only one thing that is small decides.
        large = 0.95 if patch.size > 0.3 else 0.0
        return max(large, greenish(patch) if patch.size < 0.15 else 0.0)

    for seed in range(2):
        outcome, _ = searched(value, space=patches(max_size=0.5), seed=seed)
        assert outcome.simplest is not None
        assert area(outcome.simplest.intervention) <= 2 / 32**2


def test_nothing_is_found_where_nothing_is() -> None:
    outcome, counted = searched(lambda patch: 0.1 + 0.1 * patch.size, budget=50)
    assert outcome.first is outcome.simplest is None
    assert len(counted.calls) == outcome.searching == 50
    assert outcome.shrinking == 0
    assert outcome.worst.value == max(0.1 + 0.1 * patch.size for patch in counted.calls)  # type: ignore[attr-defined]
    # It climbs: the worst that there is is a quarter of the side.
    assert outcome.worst.value == 0.125


def test_doubtful_values_are_not_above_the_limit() -> None:
    counted = Counted(lambda patch: 0.805)
    outcome = search(patches(), Trials(counted, area), limit=0.8, budget=30, seed=0)
    assert outcome.first is None
    assert outcome.worst.value == 0.805


def test_the_same_seed_is_the_same_search() -> None:
    first, again, other = (searched(greenish, seed=seed, budget=60)[1].calls for seed in (3, 3, 4))
    assert first == again
    assert first != other


def test_a_small_space_is_looked_through_once() -> None:
    few = st.sampled_from([Square(size=0.25), Circle(size=0.25)])
    outcome, counted = searched(lambda patch: 0.1, space=few)
    assert sorted(map(repr, counted.calls)) == ["Circle(size=0.25, anchor='top-left', color=(255, 255, 0))",
                                                "Square(size=0.25, anchor='top-left', color=(255, 255, 0))"]  # fmt: skip
    assert outcome.searching == 2


def test_what_was_found_is_tried_first_the_next_time() -> None:
    database = InMemoryExampleDatabase()
    before, _ = searched(greenish, database=database, key=b"test", budget=100)
    assert before.simplest is not None
    again, counted = searched(greenish, database=database, key=b"test", seed=99, budget=30)
    assert again.first is not None
    assert counted.calls[0] == before.simplest.intervention
    assert again.first.number == 1
    # For another test it means nothing.
    _, elsewhere = searched(greenish, database=database, key=b"other", seed=99, budget=30)
    assert elsewhere.calls[0] != before.simplest.intervention
    # What does not break the limit any more is forgotten.
    searched(lambda patch: 0.0, database=database, key=b"test", budget=20)
    _, forgotten = searched(greenish, database=database, key=b"test", seed=99, budget=30)
    assert forgotten.calls[0] != before.simplest.intervention


def test_what_cannot_be_evaluated_ends_the_search() -> None:
    def value(patch: Any) -> float:
        if len(counted.calls) == 7:
            raise InterventionError("no such thing")
        return 0.0

    counted = Counted(value)
    with pytest.raises(InterventionError, match="no such thing"):
        search(patches(), Trials(counted, area), limit=0.8, budget=200, seed=0)
    assert len(counted.calls) == 7


def test_an_error_while_it_shrinks_ends_it_too() -> None:
    def value(patch: Any) -> float:
        if above[:-1]:
            raise InterventionError("no such thing")
        above.extend([patch] * (greenish(patch) > 0.81))
        return greenish(patch)

    above: list[Any] = []
    counted = Counted(value)
    with pytest.raises(InterventionError, match="no such thing"):
        search(patches(), Trials(counted, area), limit=0.8, budget=200, seed=0)
    assert len(above) == 2


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (st.integers(0, 9), r"the space drew \d, expected interventions"),
        (st.just(Square(size=0.001)), "nothing in the space of the search changes a pixel"),
        (st.nothing(), "nothing in the space of the search exists"),
    ],
)
def test_a_space_of_something_else_is_an_error(space: Any, message: str) -> None:
    def evaluate(intervention: Intervention) -> tuple[float, float]:
        import torch

        intervention.apply(torch.zeros(1, 3, 32, 32))
        return 0.0, 0.0

    with pytest.raises(InterventionError, match=message):
        search(space, Trials(evaluate, area), limit=0.8, budget=20, seed=0)


def test_trials_are_made_once_and_within_the_budget() -> None:
    counted = Counted(lambda patch: patch.size)
    trials = Trials(counted, area)
    with pytest.raises(BudgetSpent):
        trials.of(Square())
    trials.left = 1
    assert trials.of(Square()) is trials.of(Square())
    assert (trials.left, len(counted.calls)) == (0, 1)
    with pytest.raises(BudgetSpent):
        trials.of(Circle())


# ----------------------------------------------------------------------------------------- sessions

# The fragile images, a quarter of all, turn red with whatever makes their red the brightest channel.
SEARCH = """
import pytest
from hypothesis import strategies as st
from pytest_biastransfer import Square
from pytest_biastransfer.strategies import patches

@pytest.mark.bias_search(patches(max_size=0.5), max_asr={limit}, budget=60, images=20)
def test_nothing_small_decides(bias):
    assert bias.asr >= 0
"""


@pytest.mark.parametrize("mode", ["no:xdist", "n2"])
def test_a_found_trigger_is_confirmed_shown_and_ready_to_paste(run: Run, colors: pytest.Pytester) -> None:
    colors.makepyfile(test_searched=SEARCH.format(limit=0.05))
    result = run()
    result.stdout.fnmatch_lines(
        [
            "bias: 25 % of the predictions flip with square (asr 0.250), limit 0.05",
            "  test          test_searched.py::test_nothing_small_decides[[]search-asr[]]",
            "  intervention  Square(size=0.*, anchor='top-left', color=*",
            "  FAILED  asr  0.250  (95 % interval *, n = 20)  limit 0.05",
            "  found     at evaluation * of 60, simplified with * more; asr 0.250 on 20 images",
            "  picture   *.png",
            "  seed      0; bias_search(..., seed=1) searches elsewhere",
            "  To keep it as a test of its own, paste",
            "    @pytest.mark.bias_intervention(Square(size=0.*, anchor='top-left', color=*), max_asr=0.05)",
            "test_searched.py::test_nothing_small_decides",
            "  search-asr  asr *0.250 *<= 0.05  FAILED   above limit; found among *",
        ]
    )
    assert result.ret == 1
    text = result.stdout.str()
    picture = re.search(r"^  picture   (.*\.png)$", text, re.MULTILINE)
    assert picture is not None
    before, after = np.split(np.asarray(Image.open(colors.path / picture[1])), [20], axis=1)
    assert not np.array_equal(before[:, :16], after[:, 4:20])
    # What is to be pasted fails as it was found.
    marker = re.search(r"^    @pytest\.mark\.(bias_intervention\(.*\))$", text, re.MULTILINE)
    assert marker is not None
    colors.makepyfile(
        test_searched=f"import pytest\nfrom pytest_biastransfer import *\n\n@pytest.mark.{marker[1]}\ndef test(): pass\n"
    )
    again = colors.runpytest_inprocess(*MODES["no:xdist"])
    again.stdout.fnmatch_lines(["  FAILED  asr  0.250 *"])


def test_where_nothing_is_found_it_says_how_much_was_tried(run: Run, colors: pytest.Pytester) -> None:
    colors.makepyfile(test_searched=SEARCH.format(limit=0.3))
    result = run("-v")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["  search-asr  asr *0.250 *<= 0.3  passed   holds (within noise); worst of 60"])


def test_a_second_run_evaluates_nothing(colors: pytest.Pytester) -> None:
    colors.makepyfile(test_searched=SEARCH.format(limit=0.3))
    first, second = (colors.runpytest_inprocess(*MODES["no:xdist"]) for _ in range(2))
    first.stdout.re_match_lines([r"1 bias test: 1 passed; [1-9][\d,]* images evaluated"])
    second.stdout.fnmatch_lines(["1 bias test: 1 passed; 0 images evaluated, *predictions reused"])
    assert first.stdout.str().count("0.250") == second.stdout.str().count("0.250")


def test_searches_compose_with_other_markers(colors: pytest.Pytester) -> None:
    colors.makepyfile(
        """
        import pytest
        from hypothesis import strategies as st
        from pytest_biastransfer import Blur, Grayscale, Square
        from pytest_biastransfer.strategies import patches

        mild = st.sampled_from([Grayscale(), Blur()])

        @pytest.mark.xfail(reason="known", strict=True)
        @pytest.mark.bias_search(patches(max_size=0.5), max_skew=0.05, budget=60)
        def test_known():
            pass

        @pytest.mark.parametrize("number", [1, 2])
        @pytest.mark.bias_search(mild, max_asr=1, budget=5)
        @pytest.mark.bias_search(mild, max_targeted_asr=1, target="red", budget=5)
        @pytest.mark.bias_intervention(Square(), max_asr=1)
        def test_several(number):
            assert number

        @pytest.mark.bias_search(mild, max_asr=1, budget=5)
        def test_body_first(bias):
            assert bias.asr > 2
        """
    )
    result = colors.runpytest_inprocess(*MODES["no:xdist"], "--bias-only", "-rA")
    result.assert_outcomes(xfailed=1, passed=6, failed=1)
    result.stdout.fnmatch_lines(["*assert * > 2"])
    result.stdout.fnmatch_lines(["PASSED *::test_several[[]search-targeted_asr-2[]]"])


def test_a_search_is_no_part_of_the_baseline(colors: pytest.Pytester) -> None:
    colors.makepyfile(test_searched=SEARCH.format(limit=0.3))
    result = colors.runpytest_inprocess(*MODES["no:xdist"], "--bias-update=new")
    result.assert_outcomes(passed=1)
    assert not Path(colors.path, "bias-baseline.json").exists()


def images_visited_first(
    colors: pytest.Pytester, patch: pytest.MonkeyPatch, *, fragile: bool, count: int, fragile_others: int
) -> None:
    """Have 600 images, of which so many that are visited first are fragile, or are not."""
    # The order depends on the content of the images, which nobody can choose by the order then.
    patch.setattr("pytest_biastransfer.evaluation.visiting_order.dataset_seed", lambda dataset, number: 0)
    conftest = colors.path / "conftest.py"
    conftest.write_text(
        conftest.read_text()
        + f"""

@pytest.fixture(scope="session")
def bias_dataset():
    from pytest_biastransfer.evaluation.visiting_order import visiting_order

    found = images(fragile={fragile_others}, n=600)
    for place in visiting_order(600, 0)[:{count}]:
        found[place] = images(fragile={int(fragile)}, n=1)[0]
    return found
"""
    )


def test_some_images_may_show_too_much(colors: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the images that are searched, more are fragile than of all: the verdict is that on all of them."""
    monkeypatch.setenv("COLUMNS", "120")
    images_visited_first(colors, monkeypatch, fragile=True, count=40, fragile_others=0)
    colors.makepyfile(test_searched=SEARCH.format(limit=0.3).replace("images=20", "images=50"))
    result = colors.runpytest_inprocess(*MODES["no:xdist"], "-v")
    result.assert_outcomes(passed=1)
    # 40 of 50 are above the limit, and 40 of 600 are not.
    result.stdout.fnmatch_lines(["  search-asr  asr *0.067 *<= 0.3  passed   holds; worst of *"])


def test_a_metric_without_images_is_one_message(colors: pytest.Pytester) -> None:
    conftest = colors.path / "conftest.py"
    # Everything is labelled green, and nothing is predicted so.
    conftest.write_text(conftest.read_text().replace("expand(3, 16, 16), 2)", "expand(3, 16, 16), 1)"))
    colors.makepyfile(test_searched=SEARCH.format(limit=0.3).replace("max_asr", "max_conditional_asr"))
    result = colors.runpytest_inprocess(*MODES["no:xdist"])
    result.stdout.fnmatch_lines(["*conditional_asr of * is undefined on the images of the search; *"])
    assert result.ret == 1


BAD = [
    ("patches(), max_asr=0.1, max_skew=0.1", "*max_asr, max_skew: a search needs one limit*"),
    ("patches()", "*bias_search: no limit, so nothing could fail; add one*"),
    ("Square(), max_asr=0.1", "*bias_search: got Square(*) to search in, expected one strategy for interventions, such as patches()*"),
    ("max_asr=0.1", "*bias_search: got nothing to search in*"),
    ("patches(), patches(), max_asr=0.1", "*bias_search: got *, expected one strategy*"),
    ("patches(), max_asr=0.1, budget=0", "*bias_search: budget=0, expected a whole number from 1 on*"),
    ("patches(), max_asr=0.1, images=1.5", "*bias_search: images=1.5, expected a whole number from 1 on*"),
    ("patches(), max_asr=0.1, seed=-1", "*bias_search: seed=-1, expected a whole number from 0 on*"),
    ("patches(), max_asr=0.1, buget=5", "*bias_search: unknown keyword buget; did you mean budget[?]*"),
    ("patches(), max_asr=0.1, rule='certain'", "*bias_search: unknown keyword rule*"),
    ("patches(), max_asr=0.1, model='transfered_model'", "*bias_search: model='transfered_model' is not a fixture*did you mean transferred_model*"),
    ("st.integers(), max_asr=0.1", "*the space drew *, expected interventions*"),
    ("st.just(Square(size=0.01)), max_asr=0.1", "*nothing in the space of the search changes a pixel (Square(*: rounds to no pixel*"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "message"), BAD, ids=[arguments for arguments, _ in BAD])
def test_mistakes_are_named(colors: pytest.Pytester, arguments: str, message: str) -> None:
    colors.makepyfile(
        f"""
        import pytest
        from hypothesis import strategies as st
        from pytest_biastransfer import Square
        from pytest_biastransfer.strategies import patches

        @pytest.mark.bias_search({arguments})
        def test_searched():
            pass
        """
    )
    result = colors.runpytest_inprocess(*MODES["no:xdist"])
    result.stdout.fnmatch_lines([message])
    result.stdout.no_fnmatch_line("*Traceback*")
    assert result.ret != 0


def test_a_mistake_in_what_is_drawn_is_one_message(colors: pytest.Pytester) -> None:
    colors.makepyfile(
        """
        import pytest
        from hypothesis import strategies as st
        from pytest_biastransfer import Custom

        def wrong(images):
            return images[:, :, 1:]

        @pytest.mark.xfail
        @pytest.mark.bias_search(st.just(Custom(wrong)), max_asr=0.1)
        def test_searched():
            pass
        """
    )
    result = colors.runpytest_inprocess(*MODES["no:xdist"])
    result.stdout.fnmatch_lines(["*Custom(wrong) returned shape * for images of shape *"])
    assert result.ret == 1


def test_what_is_blurred_or_gray_has_an_area_of_one() -> None:
    import torch

    from pytest_biastransfer import Preprocess
    from pytest_biastransfer.data import as_images
    from pytest_biastransfer.evaluation.preview import Preview

    image = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(0))
    preview = Preview(as_images([(image, 0), (1 - image, 0)], "dataset"), Preprocess(), [0, 1])
    assert preview.changed_share(Grayscale()) == pytest.approx(1, abs=0.02)
    assert preview.changed_share(Blur()) == pytest.approx(1, abs=0.05)
    assert preview.changed_share(Square(size=0.25)) == pytest.approx(1 / 16, abs=0.005)
    assert preview.changed_share(Square(size=0.5, blend="multiply", color="white")) == 0
    # At the stage of the source, what is drawn is resized with the image.
    small = Preview(as_images([(image, 0)], "dataset"), Preprocess(size=8), [0])
    assert small.changed_share(Square(size=1 / 16, stage="source")) == 1 / 64


def test_what_changes_nothing_on_the_images_looked_at_ends_the_search() -> None:
    outcome, counted = searched(
        lambda patch: 1.0, space=st.sampled_from([Square(), Circle()]), area_of=lambda patch: 0.0
    )
    assert outcome.simplest is not None
    assert len(counted.calls) <= 2


def test_equal_draws_that_cannot_be_told_by_content_are_no_crash() -> None:
    def shifting(by: int) -> Custom:
        lock = threading.Lock()  # What pickle cannot save.
        return Custom(lambda images: (images + by / 10, lock)[0], name="shift")

    space = st.integers(0, 9).map(shifting)
    value = lambda custom: 0.1 + 0.1 * custom.function.__closure__[0].cell_contents  # noqa: E731
    outcome, _ = searched(value, space=space, budget=15, area_of=lambda patch: 1.0)
    assert outcome.simplest is not None


def test_a_limit_of_time_ends_the_search_at_once() -> None:
    def value(patch: Any) -> float:
        if len(counted.calls) == 5:
            pytest.fail("Timeout")
        return 0.0

    counted = Counted(value)
    with pytest.raises(pytest.fail.Exception, match="Timeout"):
        search(patches(), Trials(counted, area), limit=0.8, budget=200, seed=0)
    assert len(counted.calls) == 5


def test_an_error_forgets_nothing_that_was_found() -> None:
    def value(patch: Any) -> float:
        raise InterventionError("out of memory")

    database = InMemoryExampleDatabase()
    before, _ = searched(greenish, database=database, key=b"test")
    with pytest.raises(InterventionError, match="out of memory"):
        searched(value, database=database, key=b"test")
    again, _ = searched(greenish, database=database, key=b"test", seed=5)
    assert again.first is not None
    assert again.first.number == 1
    assert before.simplest is not None


def test_what_was_found_with_a_small_budget_is_made_plainer_with_a_larger_one() -> None:
    database = InMemoryExampleDatabase()
    searched(greenish, database=database, key=b"test", budget=40)
    outcome, _ = searched(greenish, database=database, key=b"test", budget=200)
    assert outcome.simplest is not None
    assert outcome.simplest.intervention.size == 1 / 32  # type: ignore[attr-defined]


def test_the_worst_of_the_images_searched_is_judged_on_all(
    colors: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    images_visited_first(colors, monkeypatch, fragile=False, count=50, fragile_others=300)
    declared = SEARCH.format(limit=0.3).replace("images=20", "images=50")
    colors.makepyfile(test_searched=declared.replace("patches(max_size=0.5)", "st.just(Square(size=0.5))"))
    result = colors.runpytest_inprocess(*MODES["no:xdist"])
    # Of the 50 images none is fragile, of all nearly half.
    result.stdout.fnmatch_lines(["  FAILED  asr  0.4*", "*as the worst of *, none significantly above the limit*"])
    assert result.ret == 1


def test_two_searches_of_one_test_are_kept_apart(colors: pytest.Pytester) -> None:
    colors.makepyfile(
        """
        import pytest
        from pytest_biastransfer.strategies import patches
        from pytest_biastransfer import Square, Triangle

        @pytest.mark.bias_search(patches(max_size=0.5, shapes=[Square]), max_asr=0.05, budget=30)
        @pytest.mark.bias_search(patches(max_size=0.5, shapes=[Triangle]), max_asr=0.05, budget=30)
        def test_searched():
            pass
        """
    )
    for _ in range(2):
        result = colors.runpytest_inprocess(*MODES["no:xdist"])
        pictures = re.findall(r"^  picture   (.*)$", result.stdout.str(), re.MULTILINE)
        assert len(set(pictures)) == 2
    # In CI, pytest's summary has the messages once more.
    failures = result.stdout.str().partition("short test summary info")[0]
    assert failures.count("found     at evaluation 1 of 30") == 2
