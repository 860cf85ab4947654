"""Datasets with an intervention planted on some of their images, for everyone who reads them."""

from __future__ import annotations

import functools
from collections import ChainMap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from pytest_biastransfer.data.arrays import as_float, in_depth_of, require_unit_range
from pytest_biastransfer.data.pixels import decode_all_masks
from pytest_biastransfer.data.views import View
from pytest_biastransfer.errors import DatasetError
from pytest_biastransfer.fingerprints import NotFingerprintableError, fingerprint
from pytest_biastransfer.interventions import Intervention

if TYPE_CHECKING:
    import numpy.typing as npt

    from pytest_biastransfer.data import LabelledImages
    from pytest_biastransfer.data.arrays import Image
    from pytest_biastransfer.models.preprocess import Preprocess


class Planted(View):
    """A view of a dataset with an intervention on some of its images.

    Parameters
    ----------
    inner
        The dataset.
    intervention
        The intervention, applied at its stage: before a model's resizing and cropping, or after it.
    chosen
        Which images it is planted on, bool [images].
    attribute
        Name of the attribute with this information, ``"True"`` or ``"False"``.
    """

    def __init__(
        self, inner: LabelledImages, intervention: Intervention, chosen: npt.NDArray[np.bool_], attribute: str
    ) -> None:
        super().__init__(inner)
        self.intervention = intervention
        self.chosen = chosen
        self._attribute = attribute
        # At stage "source" it runs in the threads that decode, and a user's intervention may not be thread-safe.
        self.reads_in_parallel = inner.reads_in_parallel and intervention.stage == "input"

    @functools.cached_property
    def fingerprint(self) -> str:
        """Hash of the inner fingerprint, the intervention and the planted images; no image is read."""
        inner = self.inner.fingerprint
        if not self.chosen.any():
            return inner
        try:
            planted = self.intervention.fingerprint
        except NotFingerprintableError as error:
            raise DatasetError(
                f"plant: {self.intervention} is planted on images of {self.name}, so their fingerprint depends on its "
                f"content, but it holds {error}; let it hold numbers, strings, arrays or tensors"
            ) from error
        masks = [self.inner.masks(name).fingerprint for name in self.intervention.mask_names]
        return fingerprint("planted", inner, planted, masks, np.packbits(self.chosen))

    @functools.cached_property
    def attributes(self) -> Mapping[str, Sequence[str]]:
        """The inner attributes, and the one that says which images it is planted on."""
        values = list(map(str, self.chosen.tolist()))
        return ChainMap({self._attribute: values}, self.inner.attributes)  # type: ignore[arg-type] # It is only read.

    def before_resizing(self, image: Image, index: int) -> Image:
        """Return the image, with an intervention of stage "source"."""
        from pytest_biastransfer.models.preprocess import Preprocess

        image = self.inner.before_resizing(image, index)
        # The default preprocessing resizes nothing: the masks must match the original picture.
        return self._planted(image, index, Preprocess()) if self.intervention.stage == "source" else image

    def after_cropping(self, image: Image, index: int, preprocess: Preprocess) -> Image:
        """Return the image, with an intervention of stage "input"."""
        image = self.inner.after_cropping(image, index, preprocess)
        return self._planted(image, index, preprocess) if self.intervention.stage == "input" else image

    def _planted(self, image: Image, index: int, preprocess: Preprocess) -> Image:
        import torch

        if not self.chosen[index]:
            return image
        require_unit_range(image, f"image {index} of {self.name}")
        decoded = decode_all_masks(self.inner, self.intervention.mask_names, [index], preprocess)
        masks = {name: torch.from_numpy(mask) for name, mask in decoded.items()}
        with torch.no_grad():
            images = torch.from_numpy(np.array(as_float(image), order="C")[None])
            return in_depth_of(self.intervention.apply(images, [index], masks)[0].numpy(), image)
