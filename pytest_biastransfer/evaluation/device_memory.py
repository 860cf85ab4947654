"""What a process keeps for its device between evaluations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_biastransfer.evaluation.device_models import DeviceModels
from pytest_biastransfer.evaluation.device_pixels import DevicePixels, memory_for_pixels

if TYPE_CHECKING:
    from pytest_biastransfer.evaluation.compiled_models import CompiledModels


class DeviceMemory:
    """Decoded pixels, models and compiled models of one device, for all evaluations of a process.

    Attributes
    ----------
    pixels, models
        What stays; by default nothing does.
    compiled
        The compiled models.
    """

    def __init__(
        self,
        pixels: DevicePixels | None = None,
        models: DeviceModels | None = None,
        compiled: CompiledModels | None = None,
    ) -> None:
        self.pixels = pixels or DevicePixels(lambda: 0)
        self.models = models or DeviceModels()
        self._compiled = compiled

    @property
    def compiled(self) -> CompiledModels:
        """The compiled models."""
        if self._compiled is None:
            # torch is imported only here: an environment whose predictions are all stored needs none.
            from pytest_biastransfer.evaluation.compiled_models import CompiledModels

            self._compiled = CompiledModels()
        return self._compiled

    def free(self) -> bool:
        """Free memory: of the pixels first, then of models that are not in use; return whether any was freed.

        Pixels are read again, or decoded, at little cost. A smaller batch would slow down all that follows.
        """
        return self.pixels.clear() or self.models.give_back()


def lasting_memory(device: str, limit: int | None = None, processes: int = 1) -> DeviceMemory:
    """Return the memory of a device where pixels and models stay; on a CPU, nothing does.

    `limit` and `processes` are those of `memory_for_pixels`.
    """
    pixels = DevicePixels(lambda: memory_for_pixels(device, limit, processes))
    return DeviceMemory(pixels, DeviceModels(stay=device != "cpu"))
