"""Datasets that take one long reading to know, which files decide about."""

from __future__ import annotations

import functools
import hashlib
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, TypedDict

from pytest_biastransfer._version import __version__
from pytest_biastransfer.data.labelled_images import LabelledImages, Numbering
from pytest_biastransfer.errors import DatasetError
from pytest_biastransfer.fingerprints import fingerprint
from pytest_biastransfer.store import Facts, StoreDirectory
from pytest_biastransfer.store.facts import Digest

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from pytest_biastransfer.data.masks import Mask, Masks


# As labels are int64.
_LARGEST: Final = 2**63 - 1


class Findings(TypedDict):
    """What one reading tells: `contents` is a hash of all images in order, `masks` are the names of those that there
    are, `sorted` says whether the classes are numbered here, in the order of their names; the others are as in
    `LabelledImages`.
    """

    labels: list[int]
    classes: list[str] | None
    sorted: bool
    contents: str
    files: list[str] | None
    attributes: dict[str, list[str]]
    masks: list[str]


def _agree(findings: Findings) -> bool:
    """Whether all that is found out about images is of as many images, and the labels are labels."""
    count = len(findings["labels"])
    columns = [*findings["attributes"].values(), *([] if findings["files"] is None else [findings["files"]])]
    return (
        count > 0
        and min(findings["labels"]) >= 0
        and max(findings["labels"]) <= _LARGEST
        and (findings["classes"] is None or max(findings["labels"]) < len(findings["classes"]))
        and all(len(column) == count for column in columns)
    )


def require_labels(labels: Sequence[int], found: str) -> None:
    """Raise `DatasetError` for numbers that are no labels; `found` begins the message."""
    for label in (min(labels), max(labels)):
        if not 0 <= label <= _LARGEST:
            raise DatasetError(f"{found} the label {label}, expected whole numbers from 0 on, below 2**63")


class CachedIndexImages(LabelledImages):
    """Images that are read once and then known, also in other sessions, as long as their files look the same."""

    def __init__(self, facts: Facts | None) -> None:
        self._facts = facts or Facts(StoreDirectory(None))

    @abstractmethod
    def _sources(self) -> Sequence[Path | str]:
        """Return the files that decide about the images, absolute; at least one."""

    @abstractmethod
    def _question(self) -> tuple[object, ...]:
        """Return what else decides about what is found in the files."""

    @abstractmethod
    def _find_out(self) -> Findings:
        """Read all images."""

    @functools.cached_property
    def _known(self) -> Findings:
        what = fingerprint("dataset", __version__, sorted(Findings.__annotations__), *self._question())
        try:
            known: Findings = self._facts.of_files(self._sources(), what, self._find_out, Annotated[Findings, _agree])
        except OSError as error:
            raise DatasetError(f"{error.filename or self.name}: cannot be read ({error})") from error
        return known

    @functools.cached_property
    def classes(self) -> tuple[str, ...] | None:  # type: ignore[override]
        """The names of the classes, if there are any."""
        names = self._known["classes"]
        return None if names is None else tuple(names)

    @property
    def numbering(self) -> Numbering:  # type: ignore[override]
        """Where the classes' numbers come from."""
        return "sorted" if self._known["sorted"] else "declared"

    @functools.cached_property
    def labels(self) -> npt.NDArray[np.int64]:
        """The labels."""
        import numpy as np

        return np.array(self._known["labels"], dtype=np.int64)

    @functools.cached_property
    def fingerprint(self) -> str:
        """Hash of the images and the labels."""
        return hashlib.sha256(f"{self._known['labels']}{self._known['contents']}".encode()).hexdigest()[:32]

    @property
    def files(self) -> Sequence[str] | None:
        """The names of the images' files, if they have any."""
        return self._known["files"]

    @property
    def attributes(self) -> Mapping[str, Sequence[str]]:
        """What else is known of the images."""
        return self._known["attributes"]

    def _find_masks(self, name: str) -> Masks:
        from pytest_biastransfer.data.masks import MasksByIndex, no_masks

        known = self._known["masks"]
        if name not in known:
            raise no_masks(name, self.name, known)
        what = fingerprint("masks", __version__, name, *self._question())
        digest = self._facts.of_files(self._sources(), what, lambda: self._digest_of_masks(name), Digest)
        return MasksByIndex(lambda index: self._mask(name, index), digest)

    def _digest_of_masks(self, name: str) -> str:
        """Return a hash of all masks of a name, in order."""
        raise NotImplementedError(f"{type(self).__name__} finds no masks")

    def _mask(self, name: str, index: int) -> Mask:
        """Return one of the masks that were found."""
        raise NotImplementedError(f"{type(self).__name__} finds no masks")

    def __len__(self) -> int:
        return len(self._known["labels"])
