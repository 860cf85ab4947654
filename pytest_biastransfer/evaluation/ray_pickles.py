"""Pickles for the nodes of a Ray cluster: the user's own classes travel with their code."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from pytest_biastransfer.errors import BiasTransferError
from pytest_biastransfer.evaluation.compact_pickles import compact_reduction

if TYPE_CHECKING:
    from pytest_biastransfer.evaluation.chunk_task import Evaluation


def pickle_for_ray(evaluation: Evaluation, root: Path | None) -> bytes:
    """Return an evaluation as bytes for `pickle.loads` on any node.

    Modules in files below `root` travel with their code. Raises `BiasTransferError` if a part cannot be pickled.
    """
    own = [] if root is None else list(_modules_below(root))
    try:
        with by_value(own):
            return evaluation.to_bytes(_dumps)
    except BiasTransferError:
        # What a module holds, such as a lock, may not travel. Its name may do, if nodes can import it.
        return evaluation.to_bytes(_dumps)


def _dumps(subject: object) -> bytes:
    from ray import cloudpickle

    pickler: Any = cloudpickle.CloudPickler

    class CompactCloudPickler(pickler):  # type: ignore[misc]
        def reducer_override(self, value: object) -> Any:
            reduction = compact_reduction(value)
            return super().reducer_override(value) if reduction is NotImplemented else reduction

    buffer = io.BytesIO()
    CompactCloudPickler(buffer).dump(subject)
    return buffer.getvalue()


def _modules_below(root: Path) -> Iterator[ModuleType]:
    """Yield the user's modules, such as conftest files: in files below a directory, and not installed there."""
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if file and name != "__main__" and not name.startswith(__package__.partition(".")[0]):
            path = Path(file)
            if path.is_relative_to(root) and "site-packages" not in path.parts:
                yield module


@contextlib.contextmanager
def by_value(modules: Sequence[ModuleType]) -> Iterator[None]:
    """Pickle the classes and functions of modules with their code, and not by their names."""
    from ray import cloudpickle

    for module in modules:
        cloudpickle.register_pickle_by_value(module)  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        for module in modules:
            cloudpickle.unregister_pickle_by_value(module)  # type: ignore[no-untyped-call]
