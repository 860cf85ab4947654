"""``hf:NAME_OR_DIR?split=test``: a dataset of Hugging Face's ``datasets``, from a directory or the hub."""

from __future__ import annotations

from typing import Final

from pytest_biastransfer.data.arrow_datasets import SUFFIXES
from pytest_biastransfer.data.gray_values import KEYS as WINDOW_KEYS
from pytest_biastransfer.data.hub_images import EXTRA, HubImages, files_in
from pytest_biastransfer.data.streamed_images import StreamedImages, StreamedRepository
from pytest_biastransfer.errors import DatasetError, SpecError
from pytest_biastransfer.specs.hub import KEYS as HUB_KEYS
from pytest_biastransfer.specs.hub import required_commit, snapshot
from pytest_biastransfer.specs.spec import Spec
from pytest_biastransfer.store import Facts

KEYS: Final = (*HUB_KEYS, *WINDOW_KEYS, "config", "image", "label", "split", "streaming")
# Data files and the cards that describe them; never code or archives.
_PATTERNS: Final = tuple(f"*.{word}" for suffix in (*SUFFIXES, "md", "yaml") for word in (suffix, suffix.upper()))


def load(spec: Spec, facts: Facts | None) -> HubImages:
    """Return the dataset in a directory, or in a repository of the hub that is cached or may be downloaded."""
    count = _streamed(spec)
    if count is not None and spec.switch("download") and not spec.path().is_dir():
        return StreamedRepository(required_commit(spec, spec.rest, "dataset"), spec, count, facts)
    files = snapshot(spec, extra=EXTRA, patterns=_PATTERNS, kind="dataset")
    name = f"{spec.rest}{files.revision}"
    if not files_in(files.directory):
        raise DatasetError(f"spec {spec.text!r}: {files.directory} has no files")
    if count is None:
        return HubImages(files.directory, name, spec, facts)
    return StreamedImages(files.directory, name, spec, count, facts)


def _streamed(spec: Spec) -> int | None:
    """Return how many examples are read from a stream; None without ``streaming=1``."""
    if not spec.switch("streaming"):
        return None
    count = spec.number("limit")
    if count is None:
        raise SpecError(f"spec {spec.text!r}: streaming=1 reads the first examples; add &limit= with their number")
    if "seed" in spec.query:
        raise SpecError(
            f"spec {spec.text!r}: seed= draws images at random, and streaming=1 reads the first; remove one"
        )
    return count
