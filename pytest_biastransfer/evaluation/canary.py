"""A canary: some kept predictions are made again, to learn of what no fingerprint could see.

Where a model is loaded anyway, some of its images are predicted once more, and compared with the store. If they
differ by more than rounding, whatever was kept is dropped: it is of something else.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from pytest_biastransfer.errors import BiasTransferError
from pytest_biastransfer.fingerprints import NotFingerprintableError
from pytest_biastransfer.names import CANARY_IMAGES

if TYPE_CHECKING:
    from pytest_biastransfer.data import LabelledImages
    from pytest_biastransfer.evaluation.evaluator import Evaluator, PredictionKey
    from pytest_biastransfer.interventions import Intervention
    from pytest_biastransfer.models import Model

Result = TypeVar("Result")


class DroppedError(Exception):
    """Kept predictions were dropped while a measurement was made of them: it has to be made anew."""


@dataclass(frozen=True)
class Verification:
    """How much of the store is verified.

    Attributes
    ----------
    images
        So many images of each key; None for all of them, of all keys, of models that have to be loaded for it too.
    seed
        Which images; others in each session.
    """

    images: int | None = CANARY_IMAGES
    seed: str = field(default_factory=lambda: uuid.uuid4().hex[:8])

    @property
    def verifies_all(self) -> bool:
        """Whether nothing is taken from the store that was not predicted again."""
        return self.images is None

    @property
    def option(self) -> str:
        """What to type to have the same images verified."""
        return f"--bias-verify={'all' if self.images is None else f'{self.images}@{self.seed}'}"


@dataclass(frozen=True)
class Stale:
    """Predictions that were kept, and are not those of the model as it is now.

    Attributes
    ----------
    model, dataset, intervention
        What they were said to be of, in words; no intervention for the clean images.
    differing, verified
        How many images have another class now, of how many.
    basis
        What is not believed any more; see `PredictionKey`.
    option
        What to type to have the same images verified.
    """

    model: str
    dataset: str
    intervention: str | None
    differing: int
    verified: int
    basis: str
    option: str

    def __str__(self) -> str:
        of_what = "without an intervention" if self.intervention is None else f"under {self.intervention}"
        return (
            f"stale predictions: {self.model} on {self.dataset} {of_what} has another class now for {self.differing} "
            f"of {self.verified} images that were predicted again. All that was kept of this model on these images is "
            f"dropped and measured again: something that decides about it has changed unseen ({self.option} chose "
            f"these images)"
        )


class Canary:
    """Compares kept predictions with what models predict now, each key once a session.

    Attributes
    ----------
    verification
        How many of them.
    in_turn
        Returns the intervention that is verified beside the clean images of the running test, and its words.
    """

    def __init__(self, verification: Verification) -> None:
        self.verification = verification
        self.in_turn: Callable[[], tuple[Intervention, str] | None] = lambda: None
        self._examined: set[str] = set()
        self._stale: list[Stale] = []
        self._alarmed = False

    def take_findings(self) -> list[Stale]:
        """Return what has been dropped since this was called the last time."""
        findings, self._stale = self._stale, []
        return findings

    @property
    def verifies_each(self) -> bool:
        """Whether each intervention is verified: where all is, and after something was stale."""
        return self._alarmed or self.verification.verifies_all

    def verify(self, evaluator: Evaluator, model: Model, images: LabelledImages, basis: str) -> None:
        """Verify what is kept of a model on a dataset, if that was not done in this session.

        `basis` is that of their keys. Raises `DroppedError` if it is stale.
        """
        if basis in self._examined:
            return
        self._examined.add(basis)
        turn = _usable(self.in_turn(), images)
        # One description of the model for both keys: it takes a look at all weights.
        clean, *others = evaluator.keys(model, images, [None] if turn is None else [None, turn[0]])
        if clean.portable:
            self._compare(evaluator, model, images, None, "", clean)
        for key, (intervention, words) in zip(others, [turn] if turn else [], strict=True):
            self.verify_intervention(evaluator, model, images, intervention, words, key)

    def verify_intervention(
        self,
        evaluator: Evaluator,
        model: Model,
        images: LabelledImages,
        intervention: Intervention,
        words: str,
        key: PredictionKey,
    ) -> None:
        """Verify what is kept under an intervention, once; raises `DroppedError` if it is stale."""
        if key.portable and key.text not in self._examined:
            self._examined.add(key.text)
            self._compare(evaluator, model, images, intervention, words, key)

    def _compare(
        self,
        evaluator: Evaluator,
        model: Model,
        images: LabelledImages,
        intervention: Intervention | None,
        words: str,
        key: PredictionKey,
    ) -> None:
        from pytest_biastransfer.evaluation.stored_predictions import compared_with_kept

        compared = compared_with_kept(evaluator, model, images, intervention, key, self.verification)
        if compared is None or not compared.differing:
            return
        # With one of them everything is dropped: a figure compares the clean images with the others.
        self._alarmed = True
        evaluator.store.generations.drop(key.first_basis, key.basis)
        if compared.pixels_differ:
            evaluator.pixels.drop(images, model.preprocess)
        self._stale.append(
            Stale(
                model.name,
                images.name,
                None if intervention is None else words,
                compared.differing,
                compared.verified,
                key.basis,
                self.verification.option,
            )
        )
        raise DroppedError


def _usable(turn: tuple[Intervention, str] | None, images: LabelledImages) -> tuple[Intervention, str] | None:
    """Return the intervention of another test, unless it cannot be measured here: that test says so itself."""
    if turn is None:
        return None
    try:
        _ = (turn[0].fingerprint, [images.masks(name) for name in turn[0].mask_names])
    except (BiasTransferError, NotFingerprintableError):
        return None
    return turn


def undisturbed(measure: Callable[[], Result]) -> Result:
    """Return a measurement of predictions none of which was dropped meanwhile: then it is made again."""
    while True:
        # Each key is verified once a session, so this comes to an end.
        try:
            return measure()
        except DroppedError:
            continue
