"""`scan`: the interventions that a model is most sensitive to, for use without pytest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_biastransfer.data import as_images
from pytest_biastransfer.errors import BiasTransferError
from pytest_biastransfer.evaluation.progress_bar import steps_shown
from pytest_biastransfer.interventions import BUILT_IN, as_intervention
from pytest_biastransfer.judgement.expectation import require_classes
from pytest_biastransfer.measurement.inputs import evaluator_for
from pytest_biastransfer.models import Model, as_model
from pytest_biastransfer.search.scan import ScanResults, Subject, scan_loaded

if TYPE_CHECKING:
    import torch

    from pytest_biastransfer.interventions import Intervention
    from pytest_biastransfer.measurement.inputs import Target
    from pytest_biastransfer.search.ranking import Ranking


def scan(
    model: Model | torch.nn.Module | str,
    dataset: Any,
    *,
    interventions: Mapping[str, Intervention | str] | Sequence[str] | None = None,
    control: Model | torch.nn.Module | str | None = None,
    positive: Target | None = None,
    device: str | torch.device = "auto",
    batch_size: int | None = None,
    max_images: int | None = None,
    store: Path | str | None = None,
    progress: bool = False,
) -> Ranking:
    """Measure a model under several interventions, and rank them by their effect, as ``biastransfer scan`` does.

    Parameters
    ----------
    model, dataset, control, positive, device, batch_size, max_images, store, progress
        As of `pytest_biastransfer.measure`. With a control model, interventions are ranked by `asr_excess`.
    interventions
        Interventions by the names that they have in the ranking, or a list of names that the package has, such as
        ``["dark", "noise"]``; default: all of these.

    Raises
    ------
    BiasTransferError
        If the model, the control or the dataset cannot be used. An intervention that cannot be applied to these images
        is left out of the ranking, see `Ranking.skipped`.

    Examples
    --------
    >>> import torch
    >>> from pytest_biastransfer import Square, scan
    >>> brightest_channel = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    >>> reddish = [(torch.tensor([0.4, 0.3, 0.3]).reshape(3, 1, 1).expand(3, 8, 8), 0)] * 10
    >>> squares = {"blue": Square(size=0.5, color="blue"), "red": Square(size=0.5, color="red")}
    >>> ranking = scan(brightest_channel, reddish, interventions=squares)
    >>> [entry.name for entry in ranking.entries], ranking.worst.asr
    (['blue', 'red'], 1 [0.692, 1])
    """
    named = _named(interventions)
    evaluator = evaluator_for(device, store, batch_size=batch_size, max_images=max_images)
    subject = Subject(
        as_model(model, "model"),
        as_images(dataset, "dataset"),
        None if control is None else as_model(control, "control"),
        require_classes("positive", positive),
    )
    results = ScanResults(len(named))
    with steps_shown(evaluator, "scan", 1 + len(named), "interventions", shown=progress) as begin:
        for step in scan_loaded(evaluator, subject, named, results):
            begin(step)
    return results.ranking


def _named(interventions: object) -> dict[str, Intervention]:
    if interventions is None:
        return {name: BUILT_IN.named(name) for name in BUILT_IN.names}
    if isinstance(interventions, list | tuple) and all(isinstance(name, str) for name in interventions):
        interventions = dict(zip(interventions, interventions, strict=True))
    if not isinstance(interventions, Mapping) or not interventions:
        raise BiasTransferError(
            f"interventions={interventions!r:.100}, expected interventions by name, such as {{'square': Square()}}, or "
            f"registered names, such as ['dark', 'noise']"
        )
    return {str(name): as_intervention(own, f"interventions: {name}") for name, own in interventions.items()}
