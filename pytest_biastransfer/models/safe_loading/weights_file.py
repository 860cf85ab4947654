"""The files that a spec takes weights from: there, and those that the spec expects, before a byte of them is parsed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pytest_biastransfer.errors import ModelError, SpecError
from pytest_biastransfer.regular_files import START_BYTES, placeholder, sha256_of_file
from pytest_biastransfer.specs.spec import Spec

_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


def weights_file(spec: Spec, path: Path | None = None) -> Path:
    """Return the file of weights (default: the spec's rest) once it is known to be the one with ``sha256=``.

    Raises
    ------
    ModelError
        If there is no such file, or if it is another one.
    """
    return weights_files(spec, [path or spec.path()])[0]


def weights_files(spec: Spec, paths: Sequence[Path]) -> Sequence[Path]:
    """Return several files as `weights_file` does; ``sha256=`` then has as many digests, separated by commas."""
    for path in paths:
        if not path.is_file():
            found = "a directory" if path.is_dir() else "no such file"
            raise ModelError(f"spec {spec.text!r}: {path}: {found}")
        _require_no_stand_in(spec, path)
    expected = _expected_digests(spec)
    if expected and len(expected) != len(paths):
        names = ", ".join(path.name for path in paths)
        raise ModelError(
            f"spec {spec.text!r}: sha256= has {len(expected)} digests for {len(paths)} files of weights ({names}); "
            f"expected one each, in this order, separated by commas"
        )
    for path, digest in zip(paths, expected, strict=False):
        _require_digest(spec, path, digest)
    return paths


def _require_no_stand_in(spec: Spec, path: Path) -> None:
    """Raise for what stands where a file of weights should be: a pointer of Git LFS, or a page of the web."""
    try:
        with path.open("rb") as file:
            start = file.read(START_BYTES)
    except OSError as error:
        raise ModelError(f"spec {spec.text!r}: {path}: cannot be read ({error.strerror})") from error
    instead = placeholder(start)
    if instead is not None:
        raise ModelError(f"spec {spec.text!r}: {path} is {instead}")


def without_weights_file(spec: Spec, what_to_type: str) -> None:
    """Raise if the spec expects something of a file of weights, of which it names none."""
    if "sha256" in spec.query:
        raise SpecError(f"spec {spec.text!r}: sha256= is of a file of weights, and this spec has none; {what_to_type}")


def _expected_digests(spec: Spec) -> list[str]:
    if "sha256" not in spec.query:
        return []
    found = [part.strip().lower() for part in spec.query["sha256"].split(",")]
    for digest in found:
        if not _DIGEST.fullmatch(digest):
            raise SpecError(
                f"spec {spec.text!r}: sha256={digest!r}, expected 64 hexadecimal digits, as sha256sum prints them"
            )
    return found


def _require_digest(spec: Spec, path: Path, expected: str) -> None:
    found = sha256_of_file(path).hex()
    if found != expected:
        raise ModelError(
            f"spec {spec.text!r}: {path} is another file than the spec expects; nothing in it was read\n"
            f"  found     sha256={found}\n"
            f"  expected  sha256={expected}\n"
            f"If the new file is meant, write the digest that was found into the spec"
        )
