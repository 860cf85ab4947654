"""Models on a device, ready to evaluate; they may stay there between evaluations."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


class DeviceModels:
    """The models of a process that are on its device.

    Moving a model there and back takes longer than evaluating a small dataset. So models may stay, until they are given
    back: to the tests that use them, or because memory is short. A model that is garbage does not stay.

    Parameters
    ----------
    stay
        Whether models stay; without it each is given back when its evaluation ends.
    """

    def __init__(self, *, stay: bool = False) -> None:
        self._stay = stay
        self._held: weakref.WeakKeyDictionary[torch.nn.Module, _Held] = weakref.WeakKeyDictionary()

    @contextmanager
    def ready(self, module: torch.nn.Module, device: torch.device) -> Iterator[None]:
        """Put a module into evaluation mode on a device; restore its modes, and its device unless it stays there.

        Evaluations of one module may overlap.
        """
        modes = [(submodule, submodule.training) for submodule in module.modules()]
        if module not in self._held:
            self._held[module] = _Held(next((tensor.device for tensor in _tensors(module)), device))
        held = self._held[module]
        held.uses += 1
        # Even if it stayed: somebody may have moved it.
        module.eval().to(device)
        try:
            yield
        finally:
            # One by one: train() would also change modules that were in another mode than their parent.
            for submodule, is_training in modes:
                submodule.training = is_training
            held.uses -= 1
            if not self._stay and not held.uses:
                self._move_back(module)

    def give_back(self) -> bool:
        """Move all modules that are not in use back to where they came from; return whether there was one."""
        modules = [module for module, held in self._held.items() if not held.uses]
        for module in modules:
            self._move_back(module)
        return bool(modules)

    def _move_back(self, module: torch.nn.Module) -> None:
        # One that is garbage is not held any more.
        held = self._held.pop(module, None)
        if held is not None:
            module.to(held.origin)


@dataclass
class _Held:
    """The device that a module came from, and how many evaluations use it now."""

    origin: torch.device
    uses: int = 0


def ready_to_evaluate(module: torch.nn.Module, device: torch.device) -> AbstractContextManager[None]:
    """Put a module into evaluation mode on a device; restore its modes and its device at the end."""
    return DeviceModels().ready(module, device)


def _tensors(module: torch.nn.Module) -> Iterator[torch.Tensor]:
    yield from module.parameters()
    yield from module.buffers()
