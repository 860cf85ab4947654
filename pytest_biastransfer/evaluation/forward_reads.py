"""What a model reads while it predicts: environment variables and files that decide about its predictions.

They are part of the predictions' key, but are known only after the model has predicted something.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from pytest_biastransfer.fingerprints import fingerprint
from pytest_biastransfer.fingerprints.observation import observing
from pytest_biastransfer.fingerprints.reads import NotComparableError, Reads, described, variable

if TYPE_CHECKING:
    from pytest_biastransfer.store import Facts


class ReadsMoreError(Exception):
    """A model reads something that is not part of its predictions' key: they must not be stored under it."""


class _Names(TypedDict):
    variables: list[str]
    files: list[str]
    # What the model does that cannot be compared with another session, such as "reads sys.argv (net.py:7)".
    elsewhere: list[str]


class ForwardReads:
    """What models read, by their content; the same in all processes and sessions."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._names: dict[str, _Names] = {}

    def with_reads(self, model: str) -> tuple[str, bool]:
        """Return the hash of a model and of what it reads, and whether that is all that decides about predictions."""
        state, is_all = self._state(model)
        return model if state is None else fingerprint(model, state), is_all

    def _state(self, model: str) -> tuple[Any, bool]:
        names = self._names_of(model)
        if names is None:
            return None, True
        variables = {name: variable(name) for name in names["variables"]}
        files = {name: self._digest(Path(name)) for name in names["files"]}
        return (variables, files) if variables or files else None, not names["elsewhere"]

    def elsewhere(self, model: str) -> Sequence[str]:
        """Return what a model does while it predicts for which its predictions cannot be kept, as verbs."""
        names = self._names_of(model)
        return [] if names is None else names["elsewhere"]

    def observe(self, model: str, run: Callable[[], None], earlier: Reads) -> None:
        """Run code that predicts with the model; record what is read meanwhile, and what was read `earlier`."""
        with observing() as reads:
            run()
        self._record(model, reads | earlier)

    def _record(self, model: str, reads: Reads) -> None:
        elsewhere = [f"{described(read)}{_position(reads, read)}" for read in reads.elsewhere]
        elsewhere += [f"lists {directory}" for directory in reads.directories]
        files: Iterable[str] = reads.files
        try:
            files = reads.files_besides(())
        except NotComparableError as error:
            elsewhere.append(f"reads {error.subject}{_position(reads, error.subject)}")
        # Merged with earlier records, because a module that is imported already is not read again.
        earlier = self._names_of(model) or {"variables": [], "files": [], "elsewhere": []}
        names: _Names = {
            "variables": sorted({*reads.variables, *earlier["variables"]}),
            "files": sorted({*files, *earlier["files"]}),
            "elsewhere": sorted({*elsewhere, *earlier["elsewhere"]}),
        }
        if names != earlier:
            self._names[model] = names
            self._facts.put(_fact(model), names)

    def _names_of(self, model: str) -> _Names | None:
        if model not in self._names:
            names = self._facts.get(_fact(model), _Names)
            if names is None:
                return None
            self._names[model] = names
        return self._names[model]

    def _digest(self, file: Path) -> str | None:
        try:
            return self._facts.digest(file)
        except OSError:
            return None


def _position(reads: Reads, read: str) -> str:
    if read not in reads.origins:
        return ""
    file, line = reads.origins[read]
    return f" ({Path(file).name}:{line})"


def _fact(model: str) -> str:
    return fingerprint("read while predicting", model)
