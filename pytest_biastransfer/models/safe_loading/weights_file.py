"""Checks the files of weights that a spec names, their existence and SHA-256, before any of them is parsed."""

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
    """Return the file of weights (default: the spec's rest) after comparing it with ``sha256=``.

    Raises
    ------
    ModelError
        If the file does not exist, or has another SHA-256.
    """
    return weights_files(spec, [path or spec.path()])[0]


def weights_files(spec: Spec, paths: Sequence[Path]) -> Sequence[Path]:
    """Return several files, each checked as by `weights_file`; ``sha256=`` has one digest a file, with commas."""
    for path in paths:
        if not path.is_file():
            problem = "a directory" if path.is_dir() else "no such file"
            raise ModelError(f"spec {spec.text!r}: {path}: {problem}")
        _require_no_placeholder(spec, path)
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


def _require_no_placeholder(spec: Spec, path: Path) -> None:
    """Raise for a placeholder instead of a file of weights: a pointer of Git LFS, or an HTML page."""
    try:
        with path.open("rb") as file:
            start = file.read(START_BYTES)
    except OSError as error:
        raise ModelError(f"spec {spec.text!r}: {path}: cannot be read ({error.strerror})") from error
    instead = placeholder(start)
    if instead is not None:
        raise ModelError(f"spec {spec.text!r}: {path} is {instead}")


def without_weights_file(spec: Spec, advice: str) -> None:
    """Raise if the spec has ``sha256=`` but no file of weights; `advice` ends the message."""
    if "sha256" in spec.query:
        raise SpecError(f"spec {spec.text!r}: sha256= is of a file of weights, and this spec has none; {advice}")


def _expected_digests(spec: Spec) -> list[str]:
    if "sha256" not in spec.query:
        return []
    digests = [digest.strip().lower() for digest in spec.query["sha256"].split(",")]
    for digest in digests:
        if not _DIGEST.fullmatch(digest):
            raise SpecError(
                f"spec {spec.text!r}: sha256={digest!r}, expected 64 hexadecimal digits, as sha256sum prints them"
            )
    return digests


def _require_digest(spec: Spec, path: Path, expected: str) -> None:
    actual = sha256_of_file(path).hex()
    if actual != expected:
        raise ModelError(
            f"spec {spec.text!r}: {path} is another file than the spec expects; nothing in it was read\n"
            f"  found     sha256={actual}\n"
            f"  expected  sha256={expected}\n"
            f"To accept the new file, write its digest into the spec"
        )
