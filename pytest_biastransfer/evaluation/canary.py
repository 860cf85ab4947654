"""The canary predicts some stored images again, to detect changes that no fingerprint can see.

It does so where a model is loaded anyway. If predictions differ from the stored ones by more than rounding, all stored
predictions of this model on this dataset are dropped.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from pytest_biastransfer.errors import BiasTransferError
from pytest_biastransfer.fingerprints import NotFingerprintableError

if TYPE_CHECKING:
    from pytest_biastransfer.data import LabelledImages
    from pytest_biastransfer.evaluation.environment import Environment
    from pytest_biastransfer.evaluation.keys import PredictionKey
    from pytest_biastransfer.evaluation.verification import Verification
    from pytest_biastransfer.interventions import Intervention
    from pytest_biastransfer.models import Model

Result = TypeVar("Result")


class DroppedError(Exception):
    """Stored predictions were dropped while a measurement used them: the measurement has to start again."""


@dataclass(frozen=True)
class Stale:
    """Stored predictions that differ from those that the model makes now.

    Attributes
    ----------
    model, dataset, intervention
        Their names; no intervention for the clean images.
    differing, verified
        Number of images with another class now, and of all verified images.
    basis
        The basis whose predictions were dropped; see `PredictionKey`.
    option
        The command-line option that verifies the same images again.
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
    """Compares stored predictions with those that models make now, each key once a session.

    Attributes
    ----------
    verification
        How many images are verified.
    in_turn
        Returns the intervention, with its description, that is verified together with the clean images of the running
        test.
    """

    def __init__(self, verification: Verification) -> None:
        self.verification = verification
        self.in_turn: Callable[[], tuple[Intervention, str] | None] = lambda: None
        self._examined: set[str] = set()
        self._stale: list[Stale] = []
        self._alarmed = False

    def take_findings(self) -> list[Stale]:
        """Return what was dropped since the last call."""
        findings, self._stale = self._stale, []
        return findings

    @property
    def verifies_each(self) -> bool:
        """Whether each intervention is verified: if everything is, and after a stale prediction."""
        return self._alarmed or self.verification.verifies_all

    def verify(self, environment: Environment, model: Model, images: LabelledImages, basis: str) -> None:
        """Verify the stored predictions of a model on a dataset, once a session.

        `basis` is that of their keys. Raises `DroppedError` if they are stale.
        """
        if basis in self._examined:
            return
        # Before the comparison: that raises if it drops predictions, and the measurement that starts again gets here.
        self._examined.add(basis)
        turn = _usable(self.in_turn(), images)
        # Both keys in one call, because each call hashes all weights.
        clean, *intervened = environment.keys(model, images, [None] if turn is None else [None, turn[0]])
        if clean.portable:
            self._compare(environment, model, images, None, "", clean)
        for key, (intervention, description) in zip(intervened, [turn] if turn else [], strict=True):
            self.verify_intervention(environment, model, images, intervention, description, key)

    def verify_intervention(
        self,
        environment: Environment,
        model: Model,
        images: LabelledImages,
        intervention: Intervention,
        description: str,
        key: PredictionKey,
    ) -> None:
        """Verify the stored predictions under an intervention, once; raises `DroppedError` if they are stale."""
        if key.portable and key.text not in self._examined:
            self._examined.add(key.text)
            self._compare(environment, model, images, intervention, description, key)

    def _compare(
        self,
        environment: Environment,
        model: Model,
        images: LabelledImages,
        intervention: Intervention | None,
        description: str,
        key: PredictionKey,
    ) -> None:
        from pytest_biastransfer.evaluation.stored_predictions import compare_with_stored

        comparison = compare_with_stored(environment, model, images, intervention, key, self.verification)
        if comparison is None or not comparison.differing:
            return
        # A figure compares clean with intervened images, so all predictions of the basis go together.
        self._alarmed = True
        environment.store.generations.drop(key.first_basis, key.basis)
        if comparison.pixels_differ:
            environment.pixels.drop(images, model.preprocess, environment.dataset_seed(images))
        self._stale.append(
            Stale(
                model.name,
                images.name,
                None if intervention is None else description,
                comparison.differing,
                comparison.verified,
                key.basis,
                self.verification.option,
            )
        )
        raise DroppedError


def _usable(turn: tuple[Intervention, str] | None, images: LabelledImages) -> tuple[Intervention, str] | None:
    """Return the intervention of another test, or None if it cannot be measured: that test reports it itself."""
    if turn is None:
        return None
    try:
        _ = (turn[0].fingerprint, [images.masks(name) for name in turn[0].mask_names])
    except (BiasTransferError, NotFingerprintableError):
        return None
    return turn


def undisturbed(measure: Callable[[], Result]) -> Result:
    """Return a measurement; repeat it if some of its predictions were dropped meanwhile."""
    while True:
        # Each key is verified once a session, so the loop ends.
        try:
            return measure()
        except DroppedError:
            continue
