"""`search_worst`: the worst intervention in a space, for use without pytest."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_biastransfer.data import as_images
from pytest_biastransfer.errors import BiasTransferError, nearest
from pytest_biastransfer.evaluation.progress_bar import images_shown
from pytest_biastransfer.judgement.cases import SearchCase
from pytest_biastransfer.judgement.expectation import (
    Expectation,
    require_classes,
    require_confidence,
    require_target,
)
from pytest_biastransfer.measurement.inputs import evaluator_for, require_counts
from pytest_biastransfer.metrics.catalogue import limitable, metric_named
from pytest_biastransfer.metrics.metric import ClassMetric
from pytest_biastransfer.models import Model, as_model
from pytest_biastransfer.names import CONTROL_FIXTURE, DATASET_FIXTURE, MODEL_FIXTURE

if TYPE_CHECKING:
    import torch
    from hypothesis.strategies import SearchStrategy

    from pytest_biastransfer.interventions import Intervention
    from pytest_biastransfer.measurement.inputs import Target
    from pytest_biastransfer.search.search_result import SearchResult


def search_worst(
    model: Model | torch.nn.Module | str,
    dataset: Any,
    space: SearchStrategy[Intervention],
    *,
    limit: float,
    metric: str = "asr",
    budget: int = 200,
    images: int = 512,
    seed: int = 0,
    control: Model | torch.nn.Module | str | None = None,
    positive: Target | None = None,
    target: Target | None = None,
    confidence: float = 0.95,
    device: str | torch.device = "auto",
    batch_size: int | None = None,
    store: Path | str | None = None,
    progress: bool = False,
) -> SearchResult:
    """Search a space for an intervention that exceeds a limit, as the marker ``bias_search`` does.

    Parameters
    ----------
    model, dataset, control, positive, target, confidence, device, batch_size, store, progress
        As of `pytest_biastransfer.measure`.
    space
        A strategy of Hypothesis for interventions, such as ``patches()`` of `pytest_biastransfer.strategies`.
    limit, metric
        The limit to exceed, and the metric that it is on, such as ``"asr"`` or ``"skew"``.
    budget
        The largest number of evaluations to find an intervention, and again to shrink it.
    images
        The search evaluates so many images; what it finds is measured on all.
    seed
        Another seed draws other interventions.

    Raises
    ------
    BiasTransferError
        If the model, the dataset or the space cannot be used; the message says what to change.

    Examples
    --------
    >>> import torch
    >>> from pytest_biastransfer import search_worst
    >>> from pytest_biastransfer.strategies import patches
    >>> brightest_channel = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    >>> reddish = [(torch.tensor([0.4, 0.3, 0.3]).reshape(3, 1, 1).expand(3, 32, 32), 0)] * 40
    >>> result = search_worst(brightest_channel, reddish, patches(max_size=1.0), limit=0.3, budget=40)
    >>> result.exceeds, result.measurement.asr
    (True, 1 [0.912, 1])
    """
    from hypothesis.strategies import SearchStrategy

    from pytest_biastransfer.search.bias_search import Search

    if not isinstance(space, SearchStrategy):
        raise BiasTransferError(
            f"space={space!r:.100}, expected a strategy for interventions, such as patches() from "
            f"pytest_biastransfer.strategies"
        )
    require_counts(budget=budget, images=images)
    case = SearchCase(
        name="search",
        expectation=Expectation(
            limits=((_require_metric(metric), _require_limit(metric, limit)),),
            positive=require_classes("positive", positive),
            target=require_target(target),
            confidence=require_confidence(confidence),
        ),
        model=MODEL_FIXTURE,
        dataset=DATASET_FIXTURE,
        control=None if control is None else CONTROL_FIXTURE,
        id="search",
        space=space,
        budget=budget,
        images=images,
        seed=seed,
    )
    sample = evaluator_for(device, store, batch_size=batch_size, max_images=images)
    everything = evaluator_for(device, store, batch_size=batch_size)
    own, loaded = as_model(model, "model"), as_images(dataset, "dataset")
    other = None if control is None else as_model(control, "control")
    search = Search(sample, everything, own, loaded, other, case)
    # How many interventions the search draws is not known.
    with images_shown([sample, everything], "search_worst", None, shown=progress):
        return search.run(None, b"")


def _require_metric(metric: object) -> str:
    valid = [entry.name for entry in limitable(ClassMetric)]
    if metric not in valid:
        raise BiasTransferError(f"metric={metric!r:.60}; {nearest(str(metric), valid)}")
    return str(metric)


def _require_limit(metric: str, limit: object) -> float:
    low, high = metric_named(metric).limits or (0.0, 1.0)
    if isinstance(limit, bool) or not isinstance(limit, int | float) or not low <= limit <= high:
        raise BiasTransferError(f"limit={limit!r:.60}, expected a number from {low:g} to {high:g}, such as 0.1")
    return float(limit)
