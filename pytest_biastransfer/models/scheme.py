"""The interface of the modules in `schemes`: how to load a scheme's models, and what they depend on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pytest_biastransfer.models.model import Model
from pytest_biastransfer.specs.spec import Spec


@dataclass(frozen=True)
class Sources:
    """The sources that a spec's model depends on: files, modules of code, and listings of directories."""

    files: tuple[Path, ...] = ()
    modules: tuple[str, ...] = ()
    directories: tuple[Path, ...] = ()

    def __add__(self, other: Sources) -> Sources:
        return Sources(self.files + other.files, self.modules + other.modules, self.directories + other.directories)


class Architectures(Protocol):
    """Provides a scheme with the architecture that another spec names."""

    def model(self, spec: Spec) -> Model:
        """Return the model with untrained weights."""

    def sources_of(self, spec: Spec) -> Sources | None:
        """Return the sources of the architecture; None if they cannot be listed."""


@dataclass(frozen=True)
class Scheme:
    """A scheme of model specs.

    Attributes
    ----------
    load
        Returns the model that a spec names.
    sources_of
        Returns the sources of the model without loading or downloading it; None if it depends on more than files and
        code.
    architecture, architecture_sources
        The same for the model without its weights. `architecture` is None where a state dict cannot be loaded into it.
    """

    load: Callable[[Spec, Architectures], Model]
    sources_of: Callable[[Spec, Architectures], Sources | None]
    architecture: Callable[[Spec], Model] | None = None
    architecture_sources: Callable[[Spec], Sources | None] = lambda spec: Sources()
