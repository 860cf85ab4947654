"""The interface of the modules in `schemes`: how to load a scheme's models, and what they depend on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from pytest_biastransfer.models.model import Model
from pytest_biastransfer.specs.spec import Spec

if TYPE_CHECKING:
    from pytest_biastransfer.store import Facts


@dataclass(frozen=True)
class Sources:
    """The sources that a spec's model depends on.

    Attributes
    ----------
    files
        Files of weights, and of what describes them.
    modules
        Names of modules of code; with a colon and the name of the class or function that makes the model, if it is
        known.
    directories
        Directories whose entries decide which files are read.
    """

    files: tuple[Path, ...] = ()
    modules: tuple[str, ...] = ()
    directories: tuple[Path, ...] = ()

    def __add__(self, other: Sources) -> Sources:
        return Sources(self.files + other.files, self.modules + other.modules, self.directories + other.directories)


class Architectures(Protocol):
    """Provides a scheme with what is outside of its spec: the models of other specs, and the session's facts."""

    @property
    def facts(self) -> Facts:
        """What earlier sessions have found out about files, such as embeddings of texts."""

    def model(self, spec: Spec) -> Model:
        """Return the model with untrained weights."""

    def sources_of(self, spec: Spec) -> Sources | None:
        """Return the sources of the architecture; None if they cannot be listed."""

    def trained(self, spec: Spec) -> Model:
        """Return the model with its weights."""

    def sources_of_trained(self, spec: Spec) -> Sources | None:
        """Return the sources of the model with its weights; None if they cannot be listed."""


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
    inner
        Returns the spec of another model that a spec's model is made of, whose sources are a part of its own; None if
        there is none.
    without_sources
        Says of a spec for which `sources_of` returns None why it does, and what to type, as part of a sentence.
    architecture, architecture_sources
        The same for the model without its weights. `architecture` is None where a state dict cannot be loaded into it.
    """

    load: Callable[[Spec, Architectures], Model]
    sources_of: Callable[[Spec, Architectures], Sources | None]
    architecture: Callable[[Spec], Model] | None = None
    architecture_sources: Callable[[Spec], Sources | None] = lambda spec: Sources()
    inner: Callable[[Spec], Spec | None] = lambda spec: None
    without_sources: str = "its weights are drawn at random, as its spec names no file of weights"
