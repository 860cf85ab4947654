"""The kind `bias_search`: the worst intervention in a space."""

from __future__ import annotations

import re
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final

import hypothesis

from pytest_biastransfer.errors import BiasTransferError, StoreWarning
from pytest_biastransfer.fingerprints import fingerprint
from pytest_biastransfer.plugin.collection.baseline_keys import key_of
from pytest_biastransfer.plugin.kinds.intervention import InterventionTest
from pytest_biastransfer.plugin.resources import evaluator_of, session_store
from pytest_biastransfer.reporting.record import record_of_search
from pytest_biastransfer.search.bias_search import Search
from pytest_biastransfer.search.search_result import SearchResult

if TYPE_CHECKING:
    from pytest_biastransfer.judgement.cases import SearchCase
    from pytest_biastransfer.judgement.verdict import Verdict
    from pytest_biastransfer.plugin.kinds.protocol import MeasuredTest, TestInputs
    from pytest_biastransfer.reporting.record import Record
    from pytest_biastransfer.reporting.report import Kind

# Longer file names are cut.
_NAME_LETTERS: Final = 60


def measure(inputs: TestInputs, case: SearchCase) -> MeasuredTest:
    """Search the space of a case; Hypothesis' database keeps the worst intervention for later sessions."""
    request = inputs.request
    search = Search(
        evaluator_of(request, case.images), evaluator_of(request), inputs.model, inputs.images, inputs.control, case
    )
    # The test's id distinguishes the searches of several markers of one test.
    key = "|".join(("biastransfer", key_of(request.node, case).test, request.node.callspec.id))
    result = search.run(hypothesis.settings().database, key.encode())
    if float(result.measurement.estimate(case.metric)) > case.limit:
        directory = session_store(request.config).directory
        result = replace(result, picture=_save_picture(search, result, directory, key))
    return SearchTest(case, inputs, result.measurement, result.trial.intervention, result)


@dataclass(frozen=True)
class SearchTest(InterventionTest):
    """A search and the measurement of the worst intervention; the baseline has no entry of it."""

    report_kind: ClassVar[Kind] = "search"

    case: SearchCase
    result: SearchResult

    def record(self, verdict: Verdict | None) -> Record:
        """Return the figures of the worst intervention, with the cost of the whole search."""
        return record_of_search(self.result, verdict)

    def observation_lines(self) -> Iterator[str]:
        """Yield what is observed of the worst intervention, how it was found, and the marker that keeps it."""
        from pytest_biastransfer.reporting.search_text import search_text

        yield from super().observation_lines()
        yield from ["", *search_text(self.result, self.case).splitlines()]


def _save_picture(search: Search, result: SearchResult, directory: Path | None, key: str) -> Path | None:
    """Draw an image before and after the worst intervention and return the file.

    The file is in the store's directory, or in a temporary directory where predictions are not kept. None where it
    cannot be drawn or saved: the verdict does not need it.
    """
    test = re.sub(r"[^0-9A-Za-z]+", "-", key.rpartition("::")[2].partition("|")[0]).strip("-")[:_NAME_LETTERS]
    digest = fingerprint(f"{key}|{result.trial.intervention}")[:8]
    try:
        folder = Path(tempfile.mkdtemp(prefix="biastransfer-")) if directory is None else directory / "triggers"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{test}-{digest}.png"
        search.picture(result).save(path)
    except (BiasTransferError, OSError) as error:
        warnings.warn(f"no picture of what was found: {error}", StoreWarning, stacklevel=2)
        return None
    return path
