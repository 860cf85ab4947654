"""Spec strings: ``scheme:rest?key=value&key=value``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import unquote

from pytest_biastransfer.errors import SpecError, nearest

_EXAMPLES: Final = "torchvision:resnet18 or imagefolder:data/val"
_WEIGHTS: Final = (".pt", ".pth", ".ckpt", ".bin", ".safetensors")
_SCHEME_OF_SUFFIX: Final = {".pt2": "export", ".onnx": "onnx", ".ts": "torchscript", ".csv": "csv", ".npz": "npz"}
# Files that Hugging Face's libraries write into the directories of models and datasets.
_HUGGING_FACE_FILES: Final = ("config.json", "dataset_info.json", "dataset_dict.json", "state.json")
_ADAPTER_FILE: Final = "adapter_config.json"
# Python refuses to convert numbers with thousands of digits.
_MOST_DIGITS: Final = 18


@dataclass(frozen=True)
class Spec:
    """A parsed spec string.

    Examples
    --------
    >>> spec = Spec.parse("torchvision:resnet18?weights=IMAGENET1K_V1")
    >>> spec.scheme, spec.rest, spec.query
    ('torchvision', 'resnet18', {'weights': 'IMAGENET1K_V1'})
    """

    text: str
    scheme: str
    rest: str
    query: dict[str, str] = field(default_factory=dict)
    directory: Path = Path()
    """The directory that relative paths in it are relative to."""

    @classmethod
    def parse(cls, text: str, directory: Path | None = None) -> Spec:
        """Parse a spec string; relative paths in it are relative to `directory` (default: the current one)."""
        address, _, query = text.partition("?")
        scheme, colon, rest = address.partition(":")
        directory = directory or Path.cwd()
        # A scheme of one letter is a drive letter of Windows.
        if not colon or not scheme or not rest or len(scheme) == 1:
            suggestion = _suggestion(address, query, directory)
            raise SpecError(
                f"spec {text!r}: expected scheme:rest?key=value, "
                + (f"did you mean {suggestion}?" if suggestion else f"such as {_EXAMPLES}")
            )
        return cls(text, scheme, rest, _pairs(text, query), directory)

    def path(self, text: str | None = None) -> Path:
        """Return a path in this spec (default: its rest), absolute."""
        try:
            return self.directory / Path(self.rest if text is None else text).expanduser()
        except RuntimeError as error:
            raise SpecError(f"spec {self.text!r}: {text or self.rest}: {error}") from None

    def choose_scheme(self, valid: Iterable[str]) -> str:
        """Return the scheme if it is valid."""
        if self.scheme not in valid:
            raise SpecError(f"spec {self.text!r}: unknown scheme {self.scheme!r}; {nearest(self.scheme, valid)}")
        return self.scheme

    def check_keys(self, valid: Iterable[str]) -> None:
        """Raise if a key of the query is not valid."""
        for key in self.query.keys() - set(valid):
            raise SpecError(f"spec {self.text!r}: unknown key {key!r}; {nearest(key, valid)}")

    def number(self, key: str) -> int | None:
        """Return the whole number under `key`, or None."""
        value = self.query.get(key)
        if value is None:
            return None
        if not _is_whole(value) or int(value) == 0:
            raise SpecError(f"spec {self.text!r}: {key}={value!r}, expected a whole number above 0")
        return int(value)

    def switch(self, key: str) -> bool | None:
        """Return whether `key` is switched on or off, or None."""
        value = self.query.get(key)
        if value not in (None, "1", "true", "0", "false"):
            raise SpecError(f"spec {self.text!r}: {key}={value!r}, expected 1 or 0")
        return None if value is None else value in ("1", "true")

    def nested(self, key: str, **added: str | None) -> Spec:
        """Return the spec that is the value of `key`, with the `added` keys whose values are not None."""
        text = self.query[key]
        for name, value in added.items():
            if value is not None:
                text += f"{'&' if '?' in text else '?'}{name}={value}"
        return Spec.parse(text, self.directory)

    def numbers(self, key: str) -> int | tuple[int, ...] | None:
        """Return the whole number under `key`, or several that are separated by commas, or None."""
        value = self.query.get(key)
        if value is None or "," not in value:
            return self.number(key)
        numbers = [number.strip() for number in value.split(",")]
        if not all(map(_is_whole, numbers)):
            raise SpecError(f"spec {self.text!r}: {key}={value!r}, expected whole numbers separated by a comma")
        return tuple(map(int, numbers))

    def decimal(self, key: str) -> float | None:
        """Return the number under `key`, or None."""
        numbers = self.decimals(key)
        if numbers is None:
            return None
        if len(numbers) > 1:
            raise SpecError(f"spec {self.text!r}: {key}={self.query[key]!r}, expected one number")
        return numbers[0]

    def decimals(self, key: str) -> tuple[float, ...] | None:
        """Return the numbers under `key`, separated by commas, or None."""
        value = self.query.get(key)
        if value is None:
            return None
        try:
            return tuple(float(number) for number in value.split(","))
        except ValueError:
            raise SpecError(
                f"spec {self.text!r}: {key}={value!r}, expected numbers separated by commas, such as 0.5,0.5,0.5"
            ) from None


def or_its_spec(value: object) -> str:
    """Return a hint that suggests a spec, if a `Path` was passed in place of a model or images.

    >>> or_its_spec(Path("pets.pt"))
    ", or a spec such as 'checkpoint:pets.pt?arch=torchvision:resnet18&num_classes=N'"
    """
    suggestion = _suggestion(str(value), "", Path.cwd()) if isinstance(value, Path) else None
    return f", or a spec such as {suggestion!r}" if suggestion else ""


def _suggestion(address: str, query: str, directory: Path) -> str | None:
    suffix, rest = Path(address).suffix.lower(), f"?{query}" if query else ""
    if suffix in _WEIGHTS:
        return f"checkpoint:{address}{rest or '?arch=torchvision:resnet18&num_classes=N'}"
    if suffix in _SCHEME_OF_SUFFIX:
        return f"{_SCHEME_OF_SUFFIX[suffix]}:{address}{rest}"
    location = directory / address
    if (location / _ADAPTER_FILE).is_file():
        return f"hf:BASE?adapter={address}{rest.replace('?', '&')}"
    if any((location / name).is_file() for name in _HUGGING_FACE_FILES):
        return f"hf:{address}{rest}"
    if location.is_dir() or "/" in address or "\\" in address:
        return f"imagefolder:{address}{rest}"
    return None


def _is_whole(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS


def _pairs(text: str, query: str) -> dict[str, str]:
    """Return the keys and values of a query, with ``%26`` decoded as in a URL; ``+`` stays, as paths may have it."""
    values: dict[str, str] = {}
    for pair in query.split("&") if query else ():
        key, equals, value = pair.partition("=")
        if not key or not equals:
            raise SpecError(f"spec {text!r}: {pair!r} after the question mark, expected key=value, separated by &")
        if key in values:
            raise SpecError(f"spec {text!r}: {key}= is given twice")
        values[key] = unquote(value)
        if "\0" in values[key]:
            raise SpecError(f"spec {text!r}: {key}= has a null character, which no path can have")
    return values
