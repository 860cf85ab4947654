"""The user's own callables as interventions."""

from __future__ import annotations

import random
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_biastransfer.errors import InterventionError
from pytest_biastransfer.interventions.base import Intervention, range_of, require_form, require_seed
from pytest_biastransfer.interventions.batch_info import BatchInfo
from pytest_biastransfer.interventions.random_sources import mixed_seed

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, repr=False)
class Custom(Intervention):
    """Any callable on images, such as a transform of ``torchvision.transforms.v2``.

    Parameters
    ----------
    function
        Takes a float tensor [batch, channels, height, width] in [0, 1] and returns one of the same
        shape, dtype and device; the result is clipped to [0, 1].
    name
        Name in test ids and reports; default: the name of the function or of its type.
    seed
        Seeds a callable that draws random numbers (from torch, numpy or ``random``). It is then called image by
        image, each time with the seed (`seed`, index of the image), so that the result does not depend on the batch
        size or on the number of workers.
    stage
        See `Intervention`.

    Examples
    --------
    >>> import torch
    >>> Custom(lambda images: 1 - images, name="negative").apply(torch.zeros(1, 1, 1, 1)).item()
    1.0
    """

    function: Callable[[torch.Tensor], torch.Tensor]
    _: KW_ONLY
    name: str | None = field(default=None, compare=False)
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not callable(self.function):
            raise InterventionError(f"Custom: got {self.function!r}, expected a callable on image tensors")
        if self.name is not None and (not isinstance(self.name, str) or not self.name):
            raise InterventionError(f"Custom: name={self.name!r:.100}, expected a word such as 'negative'")
        require_seed(self)

    def __repr__(self) -> str:
        # Not the function's own repr: that contains its address, which differs in every session.
        fields = [getattr(self.function, "__qualname__", repr(self.function))]
        fields += [f"name={self.name!r}"] * (self.name is not None) + [f"seed={self.seed}"] * (self.seed != 0)
        fields += [f"stage={self.stage!r}"] * (self.stage != "input")
        return f"Custom({', '.join(fields)})"

    def __str__(self) -> str:
        return repr(self)

    @property
    def label(self) -> str:
        """The field `name`, or else the name of the function or of its type."""
        function = self.function
        return self.name or getattr(function, "__name__", type(function).__name__).strip("<>").lower()

    @property
    def _renders_finite(self) -> bool:
        return False

    def render(self, images: torch.Tensor, origin: BatchInfo) -> torch.Tensor:
        """Call the function on the batch, or image by image where it draws random numbers."""
        import torch

        with _own_random_state():
            # Try the whole batch first. If no random generator has moved, the function draws no random numbers.
            _seed(self.seed, origin.indices[0])
            before = _random_state()
            changed = self._call(images)
            if _random_state() == before:
                return changed
            pieces = []
            for image, index in zip(torch.split(images, 1), origin.indices, strict=True):
                _seed(self.seed, index)
                pieces.append(self._call(image))
                require_form(self, image, pieces[-1])
                range_of(self, pieces[-1])
        return torch.cat(pieces)

    def _call(self, images: torch.Tensor) -> torch.Tensor:
        import torch

        try:
            # A copy, as the function may write to it. Contiguous, as random numbers are drawn in memory order.
            return self.function(images.clone(memory_format=torch.contiguous_format))
        except torch.OutOfMemoryError:
            raise  # The caller may try a smaller batch.
        except Exception as error:
            own = traceback.format_exception(error.with_traceback(_users_frames(error)))
            raise InterventionError(
                f"{self.label} raised {type(error).__name__}: {error}\n"
                f"on images of shape {list(images.shape)}. Its traceback:\n{''.join(own).rstrip()}"
            ) from error


def _users_frames(error: Exception) -> Any:
    """Return the traceback without our own frame, which comes first."""
    trace = error.__traceback__
    while trace is not None and Path(trace.tb_frame.f_code.co_filename) == Path(__file__):
        trace = trace.tb_next
    return trace


@contextmanager
def _own_random_state() -> Iterator[None]:
    """Restore the random generators of torch, numpy and Python afterwards."""
    import torch

    python, numpy = random.getstate(), _numpy_random()
    numpy_state = numpy.get_state() if numpy else None
    try:
        with torch.random.fork_rng(devices=range(torch.cuda.device_count()) if _uses_cuda() else []):
            yield
    finally:
        random.setstate(python)
        if numpy:
            numpy.set_state(numpy_state)


def _uses_cuda() -> bool:
    """Whether this process uses CUDA already; otherwise seeding it or saving its state would initialize it."""
    import torch

    return torch.cuda.is_available() and torch.cuda.is_initialized()  # type: ignore[no-untyped-call]


def _numpy_random() -> Any:
    numpy = sys.modules.get("numpy")
    return numpy.random if numpy is not None else None


def _seed(seed: int, index: int) -> None:
    import torch

    mixed = mixed_seed(seed, index)
    torch.default_generator.manual_seed(mixed)
    if _uses_cuda():
        torch.cuda.manual_seed_all(mixed)
    random.seed(mixed)
    if _numpy_random():
        _numpy_random().seed(mixed)


def _random_state() -> tuple[object, ...]:
    """Return a state that changes with every random number that is drawn."""
    import torch

    states = [torch.random.get_rng_state()]
    if _uses_cuda():
        states += torch.cuda.get_rng_state_all()
    numpy = _numpy_random()
    _, words, position, *_ = numpy.get_state() if numpy else (None, b"", 0)
    return (*(state.numpy().tobytes() for state in states), random.getstate(), bytes(words), position)
