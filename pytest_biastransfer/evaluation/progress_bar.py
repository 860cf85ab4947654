"""Progress bars of tqdm, in a terminal or a notebook, for functions that are called without pytest."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from pytest_biastransfer.optional_dependencies import need
from pytest_biastransfer.progress.record import progress_text

if TYPE_CHECKING:
    from pytest_biastransfer.evaluation.environment import Environment
    from pytest_biastransfer.progress.record import Progress

# A step takes long: what matters is how far the current one is, which stands behind, and not the steps a second.
_STEPS: Final = "{{l_bar}}{{bar}}| {{n_fmt}}/{{total_fmt}} {unit} [{{elapsed}}<{{remaining}}{{postfix}}]"


@contextlib.contextmanager
def images_shown(evaluators: Sequence[Environment], task: str, images: int | None, *, shown: bool) -> Iterator[None]:
    """Show the number of images that evaluators have evaluated, while the context is open.

    Parameters
    ----------
    evaluators
        Those that share the bar.
    task
        The text before the bar.
    images
        The number of images of all evaluations, of which those whose predictions are stored count at the end; None if
        it is not known.
    shown
        Whether to show the bar; nothing happens otherwise.

    Raises
    ------
    SpecError
        If tqdm is not installed.
    """
    if not shown:
        yield
        return
    done: dict[str, int] = {}

    def show(progress: Progress) -> None:
        done[progress.key] = progress.done
        if bar.total is not None:
            bar.total = max(bar.total, sum(done.values()))
        bar.update(sum(done.values()) - bar.n)

    with _bar(task, images, unit=" images") as bar, contextlib.ExitStack() as stack:
        for evaluator in evaluators:
            stack.enter_context(_reporting(evaluator, show))
        yield
        if bar.total is not None:
            bar.update(bar.total - bar.n)


@contextlib.contextmanager
def steps_shown(
    evaluator: Environment, task: str, steps: int, unit: str, *, shown: bool
) -> Iterator[Callable[[str], None]]:
    """Show the number of completed steps, and how far the current one is; yield a function that begins a step.

    Parameters
    ----------
    task, shown
        As of `images_shown`.
    steps, unit
        The number of steps, and what one is.

    Raises
    ------
    SpecError
        If tqdm is not installed.
    """
    if not shown:
        yield lambda _name: None
        return
    begun = 0

    def begin(name: str) -> None:
        nonlocal begun
        bar.set_postfix_str(name, refresh=False)
        bar.update(begun - bar.n)
        begun += 1

    def show(progress: Progress) -> None:
        text = progress_text([progress])
        if text is not None:
            bar.set_postfix_str(text)

    with _bar(task, steps, bar_format=_STEPS.format(unit=unit)) as bar, _reporting(evaluator, show):
        yield begin
        bar.set_postfix_str("", refresh=False)
        bar.update(bar.total - bar.n)


def _bar(task: str, total: int | None, **options: str) -> Any:
    tqdm = need("tqdm.auto", "notebook", "progress=True")
    return tqdm.tqdm(total=total, desc=task, **options)


@contextlib.contextmanager
def _reporting(evaluator: Environment, show: Callable[[Progress], None]) -> Iterator[None]:
    """Have an evaluator report its progress to a bar; nested bars give it back to the outer one."""
    before, evaluator.on_progress = evaluator.on_progress, show
    try:
        yield
    finally:
        evaluator.on_progress = before
