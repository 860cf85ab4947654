"""Transfers a source model to a dataset: trains once, and caches the weights by the content of all their inputs."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pytest_biastransfer.data import as_images
from pytest_biastransfer.errors import TransferError
from pytest_biastransfer.evaluation.keys import PredictionKey
from pytest_biastransfer.fingerprints import fingerprint
from pytest_biastransfer.fingerprints.source_code import versions
from pytest_biastransfer.measurement import inputs
from pytest_biastransfer.models import Model, as_model
from pytest_biastransfer.models.deferred import DeferredModel
from pytest_biastransfer.models.known_description import Description
from pytest_biastransfer.models.model import with_known_logits
from pytest_biastransfer.models.thresholds import DEFAULT, Threshold, require_threshold
from pytest_biastransfer.names import Outputs
from pytest_biastransfer.progress.record import Progress
from pytest_biastransfer.progress.stream_line import progress_on
from pytest_biastransfer.store import StoreDirectory
from pytest_biastransfer.store.chunks import ChunkStore
from pytest_biastransfer.transfer.recipe import Mode, Recipe, require_mode, require_recipe

if TYPE_CHECKING:
    import torch

    from pytest_biastransfer.data import LabelledImages
    from pytest_biastransfer.evaluation.evaluator import Evaluator
    from pytest_biastransfer.store.chunks import Content
    from pytest_biastransfer.transfer.targets import Targets

# All weights of a model are one chunk of the store.
_ONE_CHUNK: Final = range(1)
_LIBRARIES: Final = ("torch", "torchvision", "timm", "transformers")


def transfer(
    source: Model | torch.nn.Module | str,
    dataset: Any,
    mode: Mode = "fixed-feature",
    *,
    classes: Sequence[str] | None = None,
    recipe: Recipe | None = None,
    threshold: Threshold = DEFAULT,
    name: str = "",
    device: str | torch.device = "auto",
    store: Path | str | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Model:
    """Make a model for a dataset from a source model.

    Parameters
    ----------
    source
        A torch module, a `Model` with its preprocessing, or a spec string. It is not changed.
    dataset
        The dataset to train on: a map-style dataset of ``(image, label)`` or ``(image, label, attributes)``, a view of
        `pytest_biastransfer.transfer.curation.functions`, or a spec string.
    mode
        ``"fixed-feature"``: a new last layer is trained on the source's features, which are frozen, including
        BatchNorm's statistics, and computed once, or for each step where the recipe augments the images;
        ``"full-network"``: all weights are tuned, beginning with the source's; ``"scratch"``: all weights are trained,
        beginning with random ones.
    classes
        The class names of the new model, in the order of its logits. Default: those of the dataset, or as many
        classes as there are labels. Of several labels for each image: the labels to learn, by name. Of two classes with
        ``Recipe(outputs="sigmoid")``: the positive class, by default the second.
    recipe
        The training recipe. Default: ``Recipe()``.
    threshold
        Of a model with ``outputs="sigmoid"``: from which probability on a label is predicted, as in
        `pytest_biastransfer.Model`: a number, numbers by name, or ``"prevalence"``. It is no part of the training.
    name
        Name of the new model in reports. Default: made of the names of source, mode and dataset.
    device
        ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ... or a torch device. On CUDA, training uses mixed precision.
    store
        A directory that caches features and trained models by the content of all their inputs. A cached model is not
        trained again, and interrupted training continues.
    on_progress
        Called with the progress of training. Default: a line on a terminal, which disappears at the end.

    Returns
    -------
    A `Model` with the source's preprocessing; with ``outputs="sigmoid"`` where it has learnt several labels for each
    image, or one with a sigmoid.

    Raises
    ------
    TransferError
        If the source has no last layer that can be replaced, if its weights cannot be drawn again, or if the loss
        becomes NaN.
    BiasTransferError
        If the source or the dataset cannot be used.

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
    return transfer_loaded(
        evaluator, model, images, mode, classes=classes, recipe=recipe, threshold=threshold, name=name
    )


def evaluator_for(
    device: str | torch.device, store: Path | str | None, on_progress: Callable[[Progress], None] | None = None
) -> Evaluator:
    """Return an evaluator for use without pytest; by default it shows its progress if stderr is a terminal."""
    return inputs.evaluator_for(device, store, on_progress=on_progress or progress_on(sys.stderr))


def transfer_loaded(
    evaluator: Evaluator,
    source: Model,
    images: LabelledImages,
    mode: Mode,
    *,
    classes: Sequence[str] | None = None,
    recipe: Recipe | None = None,
    threshold: Threshold = DEFAULT,
    name: str = "",
) -> Model:
    """Transfer with an evaluator, and with a model and images that are loaded already."""
    experiment = _Experiment.of(evaluator, source, images, require_mode(mode), classes, require_recipe(recipe))
    threshold = require_threshold(threshold, experiment.targets.loss, "transfer", experiment.targets.names)
    name = name or f"{source.name}, {mode} on {images.name}"
    facts, metadata_key = evaluator.store.facts, fingerprint("transferred", experiment.text)
    cached = facts.get(metadata_key, _Transferred) if experiment.key.portable else None
    # Metadata without weights is not enough: the model would be trained again, and may differ with the number of
    # threads.
    if cached is not None and evaluator.store.trained.has(experiment.text, _ONE_CHUNK):
        return DeferredModel.of({**cached, "name": name, "threshold": threshold}, experiment.model)
    trained = experiment.model()
    model = with_known_logits(dataclasses.replace(trained, name=name, threshold=threshold), trained.has_known_logits)
    if experiment.key.portable:
        facts.put(
            metadata_key,
            {
                "fingerprint": model.fingerprint,
                "preprocess": dataclasses.asdict(model.preprocess),
                "classes": model.classes,
                "outputs": model.outputs,
                "has_known_logits": model.has_known_logits,
            },
        )
    return model


class _Transferred(Description):
    """The cached description of a transferred model."""

    outputs: Outputs
    has_known_logits: bool


@dataclasses.dataclass(frozen=True)
class _Experiment:
    """All inputs of a transferred model.

    Attributes
    ----------
    targets
        What it learns of the images.
    key
        The key of the source's predictions on the images.
    text
        Hash of all inputs.
    """

    evaluator: Evaluator
    source: Model
    images: LabelledImages
    mode: Mode
    recipe: Recipe
    targets: Targets
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
        if recipe.freeze and mode != "full-network":
            raise TransferError(
                f"Recipe: freeze={recipe.freeze} is for mode='full-network', here mode={mode!r}; leave it out"
            )
        if source.outputs == "probabilities":
            raise TransferError(
                f"model {source.name} declares outputs='probabilities': it applies a sigmoid after its last layer, and "
                f"training needs logits; give it without the sigmoid and with outputs='sigmoid'"
            )
        from pytest_biastransfer.transfer.targets import targets_of

        targets = targets_of(images, classes, recipe)
        # The key of the source on the unchanged images covers its weights, its preprocessing and the pixels.
        (key,) = evaluator.keys(source, images, [None])
        text = fingerprint("trained", key.text, mode, recipe, targets, images.weights, versions(_LIBRARIES))
        return cls(evaluator, source, images, mode, recipe, targets, key, text)

    def model(self) -> Model:
        """Return the model; train it if its weights are not cached."""
        from pytest_biastransfer.transfer.fitting import fit
        from pytest_biastransfer.transfer.networks import network_for

        if self.evaluator.prepare:
            self.evaluator.prepare()
        network = network_for(self.mode, self.source, self.images, self.targets.outputs, self.recipe)

        def weights(_: range) -> Content:
            key = self.text if self.key.portable else None
            return fit(self.evaluator, self.source, network, self.images, self.targets, self.recipe, key)

        store = self.evaluator.store.trained if self.key.portable else ChunkStore(StoreDirectory(None))
        # Under the lock of the chunk: of several workers that need the model, one trains it and the others wait.
        ((_, trained),) = store.collect(self.text, [_ONE_CHUNK], weights, network.accepts)
        network.load(trained)
        model = Model(
            network.module,
            preprocess=self.source.preprocess,
            classes=self.targets.names,
            outputs=self.targets.loss,
        )
        # After little training, all logits may be in [0, 1] by chance, and would be taken for probabilities.
        return with_known_logits(model, network.head.is_last)
