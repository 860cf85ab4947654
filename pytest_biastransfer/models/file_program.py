"""Modules for programs in files, such as ONNX graphs, whose layers torch cannot inspect."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

import torch

from pytest_biastransfer.errors import ModelError
from pytest_biastransfer.fingerprints.source_code import identities
from pytest_biastransfer.models.logits import entry_of, logits_of
from pytest_biastransfer.models.safe_loading.isolated_program import IsolatedProgram
from pytest_biastransfer.models.safe_loading.programs import FORMATS
from pytest_biastransfer.regular_files import sha256_of_file

# The operators' names, as the formats have them: of torch.ao, of ONNX, of torch.export.
_QUANTIZES_BY_BATCH: Final = re.compile(rb"linear_dynamic|dynamic_linear|DynamicQuantizeLinear|choose_qparams")


class FileProgram(torch.nn.Module):
    """A program that maps images to logits; the content of its files identifies it.

    Parameters
    ----------
    files
        The files of the program and its weights.
    shape
        The shape of the input, [batch, channels, height, width]; None for each dimension that may vary.
    output
        The key of the logits among several outputs; None for the ones that `logits_of` finds.
    """

    # The distributions that run the program. Its logits depend on their versions, so they are part of the fingerprint.
    runtimes: ClassVar[tuple[str, ...]] = ("torch",)
    # Whether the program takes and computes 16-bit floats.
    computes_in_16_bits = False

    def __init__(
        self, files: Sequence[Path], shape: Sequence[int | None] = (None,) * 4, output: str | None = None
    ) -> None:
        super().__init__()
        self._files = tuple(files)
        self._digests = tuple(sha256_of_file(file).hex() for file in files)
        self._shape = tuple(shape)
        self._output = output

    def __fingerprint__(self) -> object:
        """Return what identifies this module: its files' content, its output and the versions of its runtimes."""
        return self._digests, self._output, identities(self.runtimes)

    def forward(self, images: torch.Tensor) -> Any:
        """Return the logits [batch, classes] of images [batch, channels, height, width]."""
        self._require_shape(images)
        run = self.program_for(images.device)
        size = self._shape[0]
        if size is None or len(images) == size:
            return logits_of(run(images))
        # A program with a fixed batch size gets full batches only: the last one is padded, and its surplus dropped.
        batches = [_padded(batch, size) for batch in torch.split(images, size)]
        return torch.cat([logits_of(run(batch)) for batch in batches])[: len(images)]

    def program_for(self, device: torch.device) -> Callable[[torch.Tensor], Any]:
        """Return a function that computes the logits of images on a device, in batches of the program's size."""
        raise NotImplementedError

    def quantizes_by_batch(self) -> bool:
        """Whether the program quantizes activations with scales that depend on the whole batch."""
        return any(_QUANTIZES_BY_BATCH.search(file.read_bytes()) for file in self._files)

    def require_same_files(self) -> None:
        """Raise `ModelError` if the files have changed since their digests were computed."""
        if tuple(sha256_of_file(file).hex() for file in self._files) != self._digests:
            raise ModelError(f"{self._files[0]}: has changed since it was loaded; run the tests again")

    def _require_shape(self, images: torch.Tensor) -> None:
        expected = self._shape[1:]
        if all(side in (None, size) for side, size in zip(expected, images.shape[1:], strict=True)):
            return
        shape = ", ".join("any" if side is None else str(side) for side in expected)
        advice = _advice(expected, images.shape[1:])
        raise ModelError(
            f"{self._files[0]}: takes images [{shape}] (channels, height, width), got {list(images.shape[1:])}{advice}"
        )


def _advice(expected: Sequence[int | None], actual: Sequence[int]) -> str:
    """Return what to type for images [channels, height, width] that a program does not accept."""
    if _channels_are_last(expected):
        return (
            "; it wants the channels last, [height, width, channels]: export it again as a module that takes the "
            "channels first, and begins with images.permute(0, 2, 3, 1)"
        )
    channels, width = expected[0], expected[-1]
    advice = [f"&size={width}"] if width not in (None, actual[-1]) else []
    if channels in (1, 3) and actual[0] in (1, 3) and channels != actual[0]:
        advice.append(f"&channels={channels}")
    return f"; add {''.join(advice)} to its spec" if advice else ""


def _channels_are_last(expected: Sequence[int | None]) -> bool:
    first, last = expected[0], expected[-1]
    return last in (1, 3, 4) and first not in (1, 3, 4)


class IsolatedFile(FileProgram):
    """A program in one of torch's own formats, run in a sandboxed process that cannot write files.

    Raises `ModelError` if the file is no such program, if its program uses more than tensors, or if the system has no
    sandbox.
    """

    def __init__(self, kind: str, path: Path, output: str | None = None) -> None:
        super().__init__([path], output=output)
        self._program = IsolatedProgram(kind, path, output)
        self._program.start(torch.device("cpu"))
        self._shape = tuple(self._program.shape)
        self._mode: bool | None = None
        self.require_same_files()

    def train(self, mode: bool = True) -> IsolatedFile:
        """Put the program into training or evaluation mode; until then it has the mode that it was saved in."""
        self._mode = mode
        super().train(mode)
        return self

    def program_for(self, device: torch.device) -> Callable[[torch.Tensor], Any]:
        """Return a function that sends images to the process on a device; the process is started if necessary."""
        if self._program.start_on(device):
            self.require_same_files()
        return lambda images: self._program.run(images, self._mode)


class TrustedFile(FileProgram):
    """A program in one of torch's own formats, run in this process, with all its rights."""

    def __init__(self, kind: str, path: Path, output: str | None = None) -> None:
        super().__init__([path], output=output)
        self._origin = f"{kind} {path}: its program"
        self._program = FORMATS[kind].load(FORMATS[kind].verified(path), f"{kind} {path}")
        self._shape = tuple(self._program.shape)
        # As a submodule, a script follows `to()` and `eval()` of this module; an exported program supports neither.
        self.script = getattr(self._program, "script", None)
        self.require_same_files()

    def __fingerprint__(self) -> object:
        state = {} if self.script is None else dict(self.script.state_dict())
        return super().__fingerprint__(), state

    def program_for(self, device: torch.device) -> Callable[[torch.Tensor], Any]:
        """Return the program, moved to a device."""
        run, output = self._program.run_on(device, None), self._output
        return run if output is None else lambda images: entry_of(run(images), output, self._origin)


def saved_program(kind: str, path: Path, *, trusted: bool, output: str | None) -> FileProgram:
    """Return the program in a file of one of torch's own formats, and the `output` that is the logits.

    It runs in this process only if it is `trusted`.
    """
    return TrustedFile(kind, path, output) if trusted else IsolatedFile(kind, path, output)


def _padded(batch: torch.Tensor, size: int) -> torch.Tensor:
    missing = size - len(batch)
    return batch if missing == 0 else torch.cat([batch, batch[-1:].expand(missing, -1, -1, -1)])
