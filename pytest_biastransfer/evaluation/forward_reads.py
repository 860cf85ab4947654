"""What a model reads while it predicts: environment variables and files that decide about its predictions.

They are part of what predictions depend on, and are known only once the model has predicted something.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from pytest_biastransfer.fingerprints import fingerprint
from pytest_biastransfer.fingerprints.observation import Reads, observing, variable

if TYPE_CHECKING:
    from pytest_biastransfer.store import Facts


class ReadsMoreError(Exception):
    """A model reads what was not known when its predictions got their key: they must not be kept under it."""


class _Names(TypedDict):
    variables: list[str]
    files: list[str]
    # Whether it asks for what cannot be compared with another session.
    elsewhere: bool


class ForwardReads:
    """What models read, by their content; the same in all processes and sessions."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._names: dict[str, _Names] = {}

    def state(self, model: str) -> tuple[Any, bool]:
        """Return what the model reads as it is now, None if it reads nothing, and whether it is all that decides."""
        names = self._names_of(model)
        if names is None:
            return None, True
        variables = {name: variable(name) for name in names["variables"]}
        files = {name: self._digest(Path(name)) for name in names["files"]}
        return (variables, files) if variables or files else None, not names["elsewhere"]

    def observe(self, model: str, run: Callable[[], None], earlier: Reads) -> None:
        """Run code that predicts with the model, and note what is read meanwhile, and what was read `earlier`."""
        with observing() as reads:
            run()
        self._note(model, reads | earlier)

    def _note(self, model: str, reads: Reads) -> None:
        outside = reads.files_besides(())
        files = reads.files if outside is None else outside
        # A module that was imported before is not read again.
        known = self._names_of(model) or {"variables": [], "files": [], "elsewhere": False}
        names: _Names = {
            "variables": sorted({*reads.variables, *known["variables"]}),
            "files": sorted({*files, *known["files"]}),
            "elsewhere": bool(reads.elsewhere or reads.directories) or outside is None or known["elsewhere"],
        }
        if names != known:
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


def _fact(model: str) -> str:
    return fingerprint("read while predicting", model)
