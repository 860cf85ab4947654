"""Models that are programs in a file, such as an ONNX graph: what is in them cannot be looked into."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

import torch

from pytest_biastransfer.errors import ModelError
from pytest_biastransfer.fingerprints.source_code import identities
from pytest_biastransfer.models.logits import logits_of
from pytest_biastransfer.models.safe_loading.isolated_program import IsolatedProgram
from pytest_biastransfer.models.safe_loading.programs import FORMATS
from pytest_biastransfer.regular_files import sha256_of_file

# The operators' names, as the formats have them: of torch.ao, of ONNX, of torch.export.
_QUANTIZES_BY_BATCH: Final = re.compile(rb"linear_dynamic|dynamic_linear|DynamicQuantizeLinear|choose_qparams")


class FileProgram(torch.nn.Module):
    """A program that maps images to logits; told from others by the content of its files.

    Parameters
    ----------
    files
        What it was loaded from.
    shape
        What the program takes, [batch, channels, height, width]; None for each of them that may vary.
    """

    # The distributions that compute it: their versions are part of what it is.
    runtimes: ClassVar[tuple[str, ...]] = ("torch",)
    # Whether its inputs, and so what it computes of them, are numbers of 16 bits.
    computes_in_16_bits = False

    def __init__(self, files: Sequence[Path], shape: Sequence[int | None] = (None,) * 4) -> None:
        super().__init__()
        self._files = tuple(files)
        self._digests = tuple(sha256_of_file(file).hex() for file in files)
        self._shape = tuple(shape)

    def __fingerprint__(self) -> object:
        """Return what tells this module from others."""
        return self._digests, identities(self.runtimes)

    def forward(self, images: torch.Tensor) -> Any:
        """Return the logits [batch, classes] of images [batch, channels, height, width]."""
        self._require_shape(images)
        run = self.program_for(images.device)
        size = self._shape[0]
        if size is None or len(images) == size:
            return logits_of(run(images))
        # A program for batches of one size gets such: the last one is filled up, and what is too much is dropped.
        batches = [_filled_up(batch, size) for batch in torch.split(images, size)]
        return torch.cat([logits_of(run(batch)) for batch in batches])[: len(images)]

    def program_for(self, device: torch.device) -> Callable[[torch.Tensor], Any]:
        """Return what computes the logits of images on a device, in batches of the program's size."""
        raise NotImplementedError

    def quantizes_by_batch(self) -> bool:
        """Whether it quantizes what it computes while it runs, in steps that depend on the whole batch."""
        return any(_QUANTIZES_BY_BATCH.search(file.read_bytes()) for file in self._files)

    def require_same_files(self) -> None:
        """Raise if what was loaded just now is not what this module is told by."""
        if tuple(sha256_of_file(file).hex() for file in self._files) != self._digests:
            raise ModelError(f"{self._files[0]}: has changed since it was loaded; run the tests again")

    def _require_shape(self, images: torch.Tensor) -> None:
        wanted = self._shape[1:]
        if all(want in (None, found) for want, found in zip(wanted, images.shape[1:], strict=True)):
            return
        shape = ", ".join("any" if want is None else str(want) for want in wanted)
        advice = _advice(wanted, images.shape[1:])
        raise ModelError(
            f"{self._files[0]}: takes images [{shape}] (channels, height, width), got {list(images.shape[1:])}{advice}"
        )


def _advice(wanted: Sequence[int | None], offered: Sequence[int]) -> str:
    """Return what to do about images [channels, height, width] that a program does not take."""
    if _channels_are_last(wanted):
        return (
            "; it wants the channels last, [height, width, channels]: write the file again with the channels first, "
            "such as with tf2onnx --inputs-as-nchw"
        )
    channels, width = wanted[0], wanted[-1]
    advice = [f"&size={width}"] if width not in (None, offered[-1]) else []
    if channels in (1, 3) and offered[0] in (1, 3) and channels != offered[0]:
        advice.append(f"&channels={channels}")
    return f"; add {''.join(advice)} to its spec" if advice else ""


def _channels_are_last(wanted: Sequence[int | None]) -> bool:
    first, last = wanted[0], wanted[-1]
    return last in (1, 3, 4) and first not in (1, 3, 4)


class IsolatedFile(FileProgram):
    """A program of torch's own formats, computed in a process that cannot change anything.

    Raises `ModelError` if the file is no such program, or reaches more than tensors, and where there is no sandbox.
    """

    def __init__(self, kind: str, path: Path) -> None:
        super().__init__([path])
        self._program = IsolatedProgram(kind, path)
        self._program.start(torch.device("cpu"))
        self._shape = tuple(self._program.shape)
        self._mode: bool | None = None
        self.require_same_files()

    def train(self, mode: bool = True) -> IsolatedFile:
        """Put the program into training or evaluation mode; until then it is in the one that it was saved in."""
        self._mode = mode
        super().train(mode)
        return self

    def program_for(self, device: torch.device) -> Callable[[torch.Tensor], Any]:
        """Return what asks the process on a device, which is started if there is none."""
        if self._program.start_on(device):
            self.require_same_files()
        return lambda images: self._program.run(images, self._mode)


class TrustedFile(FileProgram):
    """A program of torch's own formats, computed in this process."""

    def __init__(self, kind: str, path: Path) -> None:
        super().__init__([path])
        self._program = FORMATS[kind].load(FORMATS[kind].verified(path), f"{kind} {path}")
        self._shape = tuple(self._program.shape)
        # As a child it is moved and put into evaluation mode with this module; an exported program refuses that.
        self.script = getattr(self._program, "script", None)
        self.require_same_files()

    def __fingerprint__(self) -> object:
        state = {} if self.script is None else dict(self.script.state_dict())
        return super().__fingerprint__(), state

    def program_for(self, device: torch.device) -> Callable[[torch.Tensor], Any]:
        """Return the program on a device."""
        return self._program.run_on(device, None)


def saved_program(kind: str, path: Path, *, trusted: bool) -> FileProgram:
    """Return the program in a file of torch's own formats, in this process only if its maker is trusted."""
    return TrustedFile(kind, path) if trusted else IsolatedFile(kind, path)


def _filled_up(batch: torch.Tensor, size: int) -> torch.Tensor:
    missing = size - len(batch)
    return batch if missing == 0 else torch.cat([batch, batch[-1:].expand(missing, -1, -1, -1)])
