"""Models compiled with `torch.compile`, beside the user's modules, which stay as they are.

A compiled model is a gain of time, never a change of results: its first output of each graph is compared with that of
the module itself, and whatever cannot be compiled is evaluated as without compilation, with a warning.
"""

from __future__ import annotations

import contextlib
import types
import warnings
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import torch

from pytest_biastransfer.errors import CompilationWarning
from pytest_biastransfer.models.file_program import FileProgram
from pytest_biastransfer.plain_text import in_one_line

if TYPE_CHECKING:
    from pytest_biastransfer.models import Model

_LONGEST_CAUSE: Final = 200


class CompiledModels:
    """The compiled models of a process, each compiled once; a model that is garbage does not stay.

    Parameters
    ----------
    backend
        The compiler: torch's name of it, or a function as `torch.compile` takes it.
    """

    def __init__(self, backend: str | Callable[..., Any] = "inductor") -> None:
        self._backend = backend
        # Keys are weak, and a `CompiledModel` does not refer to its module.
        self._compiled: weakref.WeakKeyDictionary[torch.nn.Module, dict[str, CompiledModel]]
        self._compiled = weakref.WeakKeyDictionary()
        self._warnings: set[str] = set()

    def of(self, model: Model, precision: str) -> CompiledModel:
        """Return the compiled form of a model in a precision: torch's graphs may have the precision built in."""
        by_precision = self._compiled.setdefault(model.module, {})
        if precision not in by_precision:
            by_precision[precision] = CompiledModel(model, self._backend, self._warn)
        return by_precision[precision]

    def _warn(self, message: str) -> None:
        # A fixture may make the same model again for each test.
        if message not in self._warnings:
            self._warnings.add(message)
            warnings.warn(message, CompilationWarning, stacklevel=2)


class CompiledModel:
    """One model, compiled for each shape of a batch.

    Attributes
    ----------
    is_usable
        Whether the model can be compiled, as far as it was tried.
    """

    def __init__(self, model: Model, backend: str | Callable[..., Any], warn: Callable[[str], None]) -> None:
        self._name = model.name
        self._backend = backend
        self._warn = warn
        self._verified: set[object] = set()
        self.is_usable = True
        self._compiled: Callable[[torch.nn.Module, torch.Tensor], Any] | None = None
        if isinstance(model.module, FileProgram | torch.jit.ScriptModule):
            self.give_up("a program in a file is compiled already")

    @property
    def is_verified(self) -> bool:
        """Whether a graph has agreed with the module itself."""
        return self.is_usable and bool(self._verified)

    def has_verified(self, graph: object) -> bool:
        """Whether a graph, such as one of a shape, has agreed with the module itself."""
        return graph in self._verified

    def note_verified(self, graph: object) -> None:
        """Record that a graph agrees with the module itself."""
        self._verified.add(graph)

    def give_up(self, cause: str) -> None:
        """Evaluate the model without compilation from now on, and say why."""
        self.is_usable = False
        self._compiled = None
        self._warn(f"model {self._name} is evaluated without compilation (bias_compile): {cause}")

    def output(self, module: torch.nn.Module, images: torch.Tensor, graph: object) -> Any:
        """Return what the compiled module returns for images; None, after `give_up`, if it cannot be compiled.

        `graph` is that of `has_verified`.

        Raises `torch.OutOfMemoryError`, and what the model raises.
        """
        if self._compiled is None:
            try:
                self._compiled = _compiled(self._backend)
            except RuntimeError as error:
                # Some releases of Python have no compiler yet.
                self.give_up(_cause(error))
                return None
        # Compilers warn of their own code, and a warning that is an error would end the compilation.
        quiet = contextlib.nullcontext() if graph in self._verified else warnings.catch_warnings(action="ignore")
        try:
            with quiet:
                return self._compiled(module, images)
        except torch.OutOfMemoryError:
            raise
        except _compiler_errors() as error:
            if isinstance(getattr(error, "inner_exception", None), torch.OutOfMemoryError):
                raise error.inner_exception from error  # type: ignore[attr-defined]
            self.give_up(_cause(error))
            return None


def padded(images: torch.Tensor, size: int) -> torch.Tensor:
    """Return images [batch, ...], of which the last one is repeated up to a batch of `size`."""
    missing = size - len(images)
    return images if missing <= 0 else torch.cat([images, images[-1:].expand(missing, *images.shape[1:])])


def _compiled(backend: str | Callable[..., Any]) -> Callable[[torch.nn.Module, torch.Tensor], Any]:
    """Return a function that calls a module, compiled for it alone."""

    def call(module: torch.nn.Module, images: torch.Tensor) -> Any:
        return module(images)

    # torch counts the graphs of each code object, and gives up after eight. So each model gets a code object of its
    # own; the configuration that holds this limit belongs to the user. The module is an argument, because what
    # `torch.compile` returns for a module would keep it alive.
    own = types.FunctionType(call.__code__.replace(), call.__globals__, "call")
    # A break of the graph would run a part of the model without compilation, and without a word.
    return torch.compile(own, dynamic=False, fullgraph=True, backend=backend)


def _compiler_errors() -> tuple[type[Exception], ...]:
    """Return what `torch.compile`, and its result when it is called, raise if a model cannot be compiled.

    Imported only here: it takes seconds.
    """
    from torch._dynamo import exc as dynamo
    from torch._inductor import exc as inductor

    # Not a `TorchDynamoException`; its name depends on the release.
    names = ("FailOnRecompileLimitHit", "FailOnCacheLimitHit")
    limits = [getattr(dynamo, name) for name in names if hasattr(dynamo, name)]
    of_inductor = (inductor.OperatorIssue, inductor.InvalidCxxCompiler, inductor.CppCompileError)
    return dynamo.TorchDynamoException, *of_inductor, *limits


def _cause(error: Exception) -> str:
    inner = getattr(error, "inner_exception", None) or error
    lines = str(inner).strip().splitlines() or [""]
    return in_one_line(f"{type(inner).__name__}: {lines[0]}")[:_LONGEST_CAUSE]
