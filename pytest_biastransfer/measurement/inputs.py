"""What the functions that measure have in common: their keyword arguments, and the evaluator that these ask for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_biastransfer.errors import BiasTransferError
from pytest_biastransfer.evaluation.devices import resolve_device
from pytest_biastransfer.evaluation.evaluator import Evaluator
from pytest_biastransfer.store import Store

if TYPE_CHECKING:
    import torch

    from pytest_biastransfer.progress.record import Progress

# One or several classes, by name or number.
Target = int | str | Sequence[int | str]


def evaluator_for(
    device: str | torch.device,
    store: Path | str | None,
    *,
    batch_size: int | None = None,
    max_images: int | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Evaluator:
    """Return an evaluator for use without pytest.

    Raises `BiasTransferError` for a device that does not exist, for a number of images that is not positive, and for
    a store that is no directory.
    """
    require_counts(batch_size=batch_size, max_images=max_images)
    _require_directory(store)
    opened = Store(None if store is None else Path(store))
    return Evaluator(
        resolve_device(str(device), opened.facts),
        opened,
        batch_size=batch_size,
        max_images=max_images,
        on_progress=on_progress,
    )


def _require_directory(store: object) -> None:
    if store is None or isinstance(store, Path):
        return
    if not isinstance(store, str):
        raise BiasTransferError(f"store={store!r:.80}, expected a directory, such as 'predictions'")
    if "://" in store:
        raise BiasTransferError(f"store={store!r:.80}: expected a directory; URLs are for pytest's option --bias-store")


def require_counts(**counts: int | None) -> None:
    """Raise `BiasTransferError` for a keyword argument that is not a positive number of images, or None."""
    for name, count in counts.items():
        if count is not None and (type(count) is not int or count < 1):
            raise BiasTransferError(f"{name}={count!r}, expected a whole number above 0")
