"""What the modules of `schemes` are made of: how the models of one scheme are loaded, and what decides about them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pytest_biastransfer.models.model import Model
from pytest_biastransfer.specs.spec import Spec

# Returns the model of a spec whose scheme another plugin has, or None if the scheme is not the plugin's either.
PluginLoader = Callable[[Spec], object]


def no_plugin(spec: Spec) -> None:
    """Load nothing: no plugin has other schemes."""


@dataclass(frozen=True)
class Parts:
    """What the model of a spec is made of: files, modules of code, and which files there are in directories."""

    files: tuple[Path, ...] = ()
    modules: tuple[str, ...] = ()
    directories: tuple[Path, ...] = ()

    def __add__(self, other: Parts) -> Parts:
        return Parts(self.files + other.files, self.modules + other.modules, self.directories + other.directories)


class Architectures(Protocol):
    """Where a scheme gets the architecture from that another spec names."""

    def model(self, spec: Spec) -> Model:
        """Return the model, with weights that mean nothing yet."""

    def made_of(self, spec: Spec) -> Parts | None:
        """Return what decides about it; None if that cannot be told."""


@dataclass(frozen=True)
class Scheme:
    """One way to name a model.

    Attributes
    ----------
    load
        Returns the model that a spec names.
    made_of
        Returns what decides about it, without loading or downloading it; None if that is more than files and code.
    architecture, architecture_made_of
        The same for the model without its weights; None where weights cannot be put into it by their names.
    """

    load: Callable[[Spec, Architectures], Model]
    made_of: Callable[[Spec, Architectures], Parts | None]
    architecture: Callable[[Spec], Model] | None = None
    architecture_made_of: Callable[[Spec], Parts | None] = lambda spec: Parts()
