"""The interface of the modules in `schemes`: how to load a scheme's models, and what they depend on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from pytest_biastransfer.models.model import Model
from pytest_biastransfer.specs.hub import Snapshot
from pytest_biastransfer.specs.spec import Spec

if TYPE_CHECKING:
    from pytest_biastransfer.store import Facts


class NotRecognizableError(Exception):
    """Another session cannot tell whether a model is the same without loading it.

    The message says why, and what to type if there is something, as part of a sentence about the model.
    """


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

    def sources_of(self, spec: Spec) -> Sources:
        """Return the sources of the architecture; raise `NotRecognizableError` if they cannot be listed."""

    def trained(self, spec: Spec) -> Model:
        """Return the model with its weights."""

    def sources_of_trained(self, spec: Spec) -> Sources:
        """Return the sources of the model with its weights; raise `NotRecognizableError` if they cannot be listed."""


@dataclass(frozen=True)
class Scheme:
    """A scheme of model specs.

    Attributes
    ----------
    load
        Returns the model that a spec names.
    sources_of
        Returns the sources of the model without loading or downloading it. Raises `NotRecognizableError` if it depends
        on more than files and code.
    inner
        Returns the spec of another model that a spec's model is made of, whose sources are a part of its own; None if
        there is none.
    architecture, architecture_sources
        The same for the model without its weights. `architecture` is None where a state dict cannot be loaded into it.
    """

    load: Callable[[Spec, Architectures], Model]
    sources_of: Callable[[Spec, Architectures], Sources]
    architecture: Callable[[Spec], Model] | None = None
    architecture_sources: Callable[[Spec], Sources] = lambda spec: Sources()
    inner: Callable[[Spec], Spec | None] = lambda spec: None


def drawn_at_random() -> NotRecognizableError:
    """Return the error of a spec without a file of weights."""
    return NotRecognizableError("its weights are drawn at random, as its spec names no file of weights")


def require_fixed(snapshot: Snapshot, spec: Spec, key: str = "revision") -> Snapshot:
    """Return a snapshot whose commit the spec names under `key`; raise `NotRecognizableError` if a branch may move."""
    if not snapshot.is_fixed(spec.query.get(key)):
        raise NotRecognizableError(f"its branch on the hub may move; name a commit with &{key}=")
    return snapshot
