"""From a source and a dataset to a transferred model: made once, and known by what it was made of."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pytest_biastransfer.data import as_images
from pytest_biastransfer.data.label_mapping import labels_for
from pytest_biastransfer.errors import TransferError
from pytest_biastransfer.evaluation.devices import resolve_device
from pytest_biastransfer.evaluation.evaluator import Evaluator
from pytest_biastransfer.evaluation.keys import PredictionKey
from pytest_biastransfer.evaluation.progress import Progress, progress_on
from pytest_biastransfer.fingerprints import fingerprint
from pytest_biastransfer.fingerprints.source_code import versions
from pytest_biastransfer.models import Model, as_model
from pytest_biastransfer.models.deferred import DeferredModel, Description
from pytest_biastransfer.store import Store, StoreDirectory
from pytest_biastransfer.store.chunks import ChunkStore
from pytest_biastransfer.transfer.recipe import Mode, Recipe, require_mode

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import torch

    from pytest_biastransfer.data import LabelledImages
    from pytest_biastransfer.store.chunks import Content

# All weights of a model are one chunk.
_WHOLE: Final = range(1)
_LIBRARIES: Final = ("torch", "torchvision", "timm", "transformers")


def transfer(
    source: Model | torch.nn.Module | str,
    dataset: Any,
    mode: Mode = "fixed-feature",
    *,
    classes: Sequence[str] | None = None,
    recipe: Recipe | None = None,
    name: str = "",
    device: str | torch.device = "auto",
    store: Path | str | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Model:
    """Make a model for a dataset from a source model.

    Parameters
    ----------
    source
        A torch module, a `Model` with its preprocessing, or a spec string. It stays as it is.
    dataset
        What to train on: a map-style dataset of ``(image, label)`` or ``(image, label, attributes)``, a view of
        `pytest_biastransfer.transfer.curation.functions`, or a spec string. There is no augmentation.
    mode
        ``"fixed-feature"``: a new last layer is trained on the source's features, which stay as they are, BatchNorm's
        statistics too; ``"full-network"``: all weights are tuned, from the source's on; ``"scratch"``: all weights are
        trained, from new random ones on.
    classes
        The class names of the new model, in the order of its logits. Default: those of the dataset, or as many
        classes as there are labels.
    recipe
        How it is trained. Default: ``Recipe()``.
    name
        Name of the new model in reports. Default: those of source, mode and dataset.
    device
        ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ... or a torch device. On CUDA, training computes in mixed
        precision.
    store
        A directory that keeps features, and trained models by the content of all that they depend on: what is there
        is not trained again, and interrupted training goes on.
    on_progress
        Called with how many images were seen, of how many. Default: a line on a terminal, gone when it is done.

    Returns
    -------
    A `Model` with the source's preprocessing.

    Raises
    ------
    TransferError
        If the source has no last layer that could be replaced, if its weights cannot be drawn anew, or if the loss
        becomes NaN.
    BiasTransferError
        If the source or the dataset are not usable.

    Examples
    --------
    >>> import torch
    >>> from pytest_biastransfer.transfer import Recipe, transfer
    >>> source = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(3, 1000))
    >>> reds = [(torch.tensor([level, 0.5, 0.5]).reshape(3, 1, 1), int(level > 0.5)) for level in (0.0, 0.2, 0.8, 1.0)]
    >>> model = transfer(source, reds, recipe=Recipe(epochs=50, learning_rate=0.5, validation_share=0))
    >>> [int(model.module(image[None]).argmax()) for image, _ in reds]
    [0, 0, 1, 1]
    """
    evaluator = evaluator_for(device, store, on_progress)
    model, images = as_model(source, "source"), as_images(dataset, "dataset")
    return transfer_loaded(evaluator, model, images, mode, classes=classes, recipe=recipe, name=name)


def evaluator_for(
    device: str | torch.device, store: Path | str | None, on_progress: Callable[[Progress], None] | None = None
) -> Evaluator:
    """Return an evaluator for use without pytest; by default it shows its progress where somebody watches."""
    kept = Store(None if store is None else Path(store))
    tell = on_progress or progress_on(sys.stderr)
    return Evaluator(resolve_device(str(device), kept.facts), kept, on_progress=tell)


def transfer_loaded(
    evaluator: Evaluator,
    source: Model,
    images: LabelledImages,
    mode: Mode,
    *,
    classes: Sequence[str] | None = None,
    recipe: Recipe | None = None,
    name: str = "",
) -> Model:
    """Transfer with an evaluator that is there already, and with what is loaded already."""
    recipe = recipe or Recipe()
    if not isinstance(recipe, Recipe):
        raise TransferError(f"recipe={recipe!r:.60}, expected Recipe(epochs=..., learning_rate=..., ...)")
    experiment = _Experiment.of(evaluator, source, images, require_mode(mode), classes, recipe)
    name = name or f"{source.name}, {mode} on {images.name}"
    facts, known_as = evaluator.store.facts, fingerprint("transferred", experiment.text)
    known = facts.get(known_as, Description) if experiment.key.portable else None
    # Without its weights it would have to be trained again, and might differ by the number of threads.
    if known is not None and evaluator.store.trained.has(experiment.text, _WHOLE):
        return DeferredModel.of({**known, "name": name}, experiment.model)
    model = dataclasses.replace(experiment.model(), name=name)
    if experiment.key.portable:
        facts.put(
            known_as,
            {
                "fingerprint": model.fingerprint,
                "preprocess": dataclasses.asdict(model.preprocess),
                "classes": model.classes,
            },
        )
    return model


@dataclasses.dataclass(frozen=True)
class _Experiment:
    """All that decides about a transferred model.

    Attributes
    ----------
    names
        Its classes, or None where they have numbers only.
    labels
        Of the images, in its numbering.
    key
        Of the source on the images.
    text
        Hash of all of it.
    """

    evaluator: Evaluator
    source: Model
    images: LabelledImages
    mode: Mode
    recipe: Recipe
    names: tuple[str, ...] | None
    outputs: int
    labels: npt.NDArray[np.int64]
    key: PredictionKey
    text: str

    @classmethod
    def of(
        cls,
        evaluator: Evaluator,
        source: Model,
        images: LabelledImages,
        mode: Mode,
        classes: Sequence[str] | None,
        recipe: Recipe,
    ) -> _Experiment:
        names = tuple(images.classes or ()) or None if classes is None else tuple(classes)
        outputs = len(names) if names is not None else int(images.labels.max()) + 1
        # The names that are given to images without any are of these numbers.
        labels = labels_for(images, names if images.names_by_number else None, outputs)
        if labels is None:
            raise TransferError(
                f"classes={list(names or ())!r:.100} are not those of {images.name}, "
                f"{list(images.classes or ())!r:.100}; leave classes= out, or give all of them by these names, in "
                f"any order"
            )
        (key,) = evaluator.keys(source, images, [None])
        text = fingerprint("trained", key.text, mode, recipe, outputs, labels, images.weights, versions(_LIBRARIES))
        return cls(evaluator, source, images, mode, recipe, names, outputs, labels, key, text)

    def model(self) -> Model:
        """Return the model, trained now if its weights are not there."""
        from pytest_biastransfer.transfer.fitting import fit
        from pytest_biastransfer.transfer.networks import network_for

        if self.evaluator.prepare:
            self.evaluator.prepare()
        network = network_for(self.mode, self.source, self.images, self.outputs, self.recipe.seed)

        def weights(_: range) -> Content:
            key = self.text if self.key.portable else None
            return fit(self.evaluator, self.source, network, self.images, self.labels, self.recipe, key)

        store = self.evaluator.store.trained if self.key.portable else ChunkStore(StoreDirectory(None))
        ((_, found),) = store.collect(self.text, [_WHOLE], weights, network.accepts)
        network.load(found)
        return Model(
            network.module,
            preprocess=self.source.preprocess,
            classes=self.names,
        )
