"""Keys of predictions: a hash of everything that decides about them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pytest_biastransfer._version import __version__
from pytest_biastransfer.errors import StoreWarning
from pytest_biastransfer.fingerprints import NotFingerprintableError, fingerprint
from pytest_biastransfer.fingerprints.content import fingerprint_in_session
from pytest_biastransfer.models.model import Model
from pytest_biastransfer.picture_files import decoder

if TYPE_CHECKING:
    from pytest_biastransfer.data import LabelledImages
    from pytest_biastransfer.evaluation.forward_reads import ForwardReads
    from pytest_biastransfer.interventions import Intervention
    from pytest_biastransfer.names import Precision
    from pytest_biastransfer.store import Generations

# The release is part of every key: another release may render an intervention in another way.
_FORMAT: Final = f"4/{__version__}"


@dataclass(frozen=True)
class PredictionKey:
    """What predictions depend on.

    Attributes
    ----------
    text
        Hash of everything below.
    model
        Hash of the model, and of the files and environment variables that it reads while it predicts.
    content
        Hash of the model alone.
    basis
        Hash of everything except the intervention. It changes when stale predictions are dropped.
    first_basis
        The basis before predictions were ever dropped.
    portable
        Whether other sessions get the same key for the same predictions.
    """

    text: str
    model: str
    content: str
    basis: str
    first_basis: str
    portable: bool

    @property
    def portable_model(self) -> str | None:
        """Hash of the model if it is valid in other sessions, else None."""
        return self.model if self.portable else None


class KeyFactory:
    """Makes the keys of one session.

    Parameters
    ----------
    generations
        How often the predictions of a basis were dropped.
    forward_reads
        What models read while they predict.
    precision, device, compiled
        How predictions are computed, on which kind of device, and whether by compiled models.
    order_seed
        What decides with a dataset in which order its images are visited: chunks have positions in this order.
    """

    def __init__(
        self,
        generations: Generations,
        forward_reads: ForwardReads,
        precision: Precision,
        device: str,
        order_seed: int = 0,
        *,
        compiled: bool = False,
    ) -> None:
        self._generations = generations
        self._forward_reads = forward_reads
        self._precision = precision
        self._device = device
        self._order_seed = order_seed
        self._compiled = compiled
        self._kept_alive: dict[int, list[object]] = {}

    def keys(
        self, model: Model, images: LabelledImages, interventions: Sequence[Intervention | None]
    ) -> list[PredictionKey]:
        """Return a key for each intervention; None stands for the clean images."""
        content, content_portable = self._content(model)
        state, reads_portable = self._forward_reads.with_reads(content)
        preprocess = model.preprocess.fingerprint
        visited = images.fingerprint, self._order_seed
        decisive = (state, preprocess, *visited, self._precision, self._device, _FORMAT, decoder())
        # Added only if it is on: keys of models that are not compiled stay what they were.
        hashes = (state, content, fingerprint((*decisive, "compiled") if self._compiled else decisive))
        portable = content_portable and reads_portable
        return [self._key(hashes, portable, images, intervention) for intervention in interventions]

    def _key(
        self, hashes: tuple[str, str, str], portable: bool, images: LabelledImages, intervention: Intervention | None
    ) -> PredictionKey:
        model, content, basis = hashes
        change, change_portable = self._content(intervention)
        names = () if intervention is None else intervention.mask_names
        masks = [images.masks(name).fingerprint for name in names]
        current = self._generations.current(basis)
        text = fingerprint(current, change, masks)
        return PredictionKey(text, model, content, current, basis, portable and change_portable)

    def _content(self, subject: Model | Intervention | None) -> tuple[str, bool]:
        """Return the hash of a model or an intervention, and whether it is valid in other sessions."""
        try:
            return ("clean" if subject is None else subject.fingerprint), True
        except NotFingerprintableError as error:
            if id(subject) not in self._kept_alive:
                warnings.warn(
                    f"predictions with {subject} are kept for this session only, because its content cannot be told: "
                    f"it holds {error}",
                    StoreWarning,
                    stacklevel=2,
                )
            content, identified = fingerprint_in_session(subject.module if isinstance(subject, Model) else subject)
            # Python may give the identity of a collected object to a new one, so these objects have to stay alive.
            self._kept_alive.setdefault(id(subject), [subject]).extend(identified)
            return content, False
