"""Changes of a region that a mask of the dataset describes: the object, or its background."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING

from pytest_biastransfer.errors import InterventionError
from pytest_biastransfer.interventions.base import Intervention
from pytest_biastransfer.interventions.batch_info import BatchInfo
from pytest_biastransfer.interventions.colors import painted, rgb
from pytest_biastransfer.interventions.host_tensors import beside

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, repr=False)
class _Region(Intervention):
    """A region that is filled with a colour, or with pixels of the image under another intervention."""

    mask: str
    _: KW_ONLY
    fill: str | Sequence[int] | Intervention = (128, 128, 128)

    def __post_init__(self) -> None:
        super().__post_init__()
        kind = type(self).__name__
        if not isinstance(self.mask, str) or not self.mask:
            raise InterventionError(f"{kind}: mask={self.mask!r:.100}, expected the name of a mask of the dataset")
        if not isinstance(self.fill, Intervention):
            object.__setattr__(self, "fill", rgb(self.fill))
        elif self.fill.stage != self.stage:
            raise InterventionError(
                f"{kind}: fill={self.fill} is of stage {self.fill.stage!r}, and this of stage {self.stage!r}; "
                f"give both the same stage="
            )

    @abstractmethod
    def filled(self, mask: torch.Tensor) -> torch.Tensor:
        """Return where the image is filled, in [0, 1], from a mask in [0, 1]."""

    def render(self, images: torch.Tensor, origin: BatchInfo) -> torch.Tensor:
        """Mix the fill into its region; masks may have soft edges."""
        if isinstance(self.fill, Intervention):
            fill = self.fill.apply(images, origin.indices, origin.masks)
        else:
            fill = painted(self.fill, images)
        mask = beside(origin.masks[self.mask].to(images.dtype), images)
        mixed: torch.Tensor = images.lerp(fill.expand_as(images), self.filled(mask))
        return mixed

    @property
    def mask_names(self) -> tuple[str, ...]:
        """The mask, and those of the fill."""
        inner = self.fill.mask_names if isinstance(self.fill, Intervention) else ()
        return tuple(dict.fromkeys((self.mask, *inner)))


class Background(_Region):
    """Replace the background: everything that the mask does not cover.

    Parameters
    ----------
    mask
        Name of the dataset's masks, which cover the object. In a map-style dataset of ``(image, label, attributes)``
        it is an attribute that is an array [height, width] or a picture; with ``csv:`` and ``attributes=`` it is a
        column with the files of the masks.
    fill
        Three numbers from 0 to 255, ``"#rrggbb"`` or a basic CSS colour name; or an intervention such as
        ``Blur(sigma=0.1)``, whose result supplies the background.
    stage
        See `Intervention`.

    Examples
    --------
    >>> import torch
    >>> mask = torch.tensor([[1.0, 0.0]]).reshape(1, 1, 1, 2)
    >>> Background("object", fill="white").apply(torch.zeros(1, 1, 1, 2), masks={"object": mask})
    tensor([[[[0., 1.]]]])
    """

    def filled(self, mask: torch.Tensor) -> torch.Tensor:
        """Fill where the mask is not."""
        return 1 - mask


class Occlude(_Region):
    """Hide everything that the mask covers.

    The parameters are those of `Background`.

    Examples
    --------
    >>> import torch
    >>> mask = torch.tensor([[1.0, 0.0]]).reshape(1, 1, 1, 2)
    >>> Occlude("object", fill="white").apply(torch.zeros(1, 1, 1, 2), masks={"object": mask})
    tensor([[[[1., 0.]]]])
    """

    def filled(self, mask: torch.Tensor) -> torch.Tensor:
        """Fill where the mask is."""
        return mask
