"""What travels from the process of a test to the controller: written and read here, as one versioned JSON text.

pytest-xdist can carry only what execnet serializes, and a failure to serialize ends a worker without a word in some
releases. A text of JSON always arrives. The version is checked because a worker on another machine may have another
release of this package installed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from pytest_biastransfer.reporting.record import Record

# Grows with each change of what is written here or in `pytest_biastransfer.plugin.xdist.worker_messages`.
VERSION: Final = 7


@dataclass(frozen=True)
class AttachedRecord:
    """What a test's process tells of the test beside pytest's own report.

    Attributes
    ----------
    bias
        The figures and verdicts of a bias test; None for any other test.
    notes
        Findings of the test besides its verdict, for a section of the summary.
    remarks
        Remarks on models, which the summary shows once a session.
    sweep_points
        Points of sweeps that the test measured, and the files that the sweeps are to be written to, as plain data.
    loading
        Seconds that the process of a bias test has spent on loading torch and models for it.
    loaded
        Models that were loaded since the process' last report: name and reason, by key; see `LoadedModels`.
    findings
        The figures of the notes, as plain data of `pytest_biastransfer.reporting.findings.Finding`.
    """

    bias: Record | None = None
    notes: Sequence[str] = field(default=())
    remarks: Sequence[str] = field(default=())
    sweep_points: Sequence[dict[str, Any]] = field(default=())
    loading: float = 0.0
    loaded: Mapping[str, Sequence[str]] = field(default_factory=dict)
    findings: Sequence[dict[str, Any]] = field(default=())


def to_text(content: Any) -> str:
    """Return plain data as text with the version of this protocol."""
    return json.dumps({"version": VERSION, "content": content})


def from_text(text: str) -> Any:
    """Return the plain data that `to_text` wrote; end the session if another release of this package wrote it.

    >>> from_text(to_text({"asr": 0.5}))
    {'asr': 0.5}
    """
    message = json.loads(text)
    if message["version"] != VERSION:
        pytest.exit(
            f"pytest-biastransfer: a worker sent records of version {message['version']}, expected {VERSION}; install "
            f"the same release of pytest-biastransfer for all workers",
            returncode=pytest.ExitCode.USAGE_ERROR,
        )
    return message["content"]


def attach(report: pytest.TestReport, record: AttachedRecord) -> None:
    """Attach a record to a test's report."""
    report.bias_record = to_text(asdict(record))  # type: ignore[attr-defined]


class RecordReader:
    """Reads the records that came with reports, each once.

    A parsed record cannot stay on the report: a worker serializes all that a report has.
    """

    def __init__(self) -> None:
        # By the identity of the report, which is kept so that no other gets its identity: reports of subtests have no
        # hash.
        self._records: dict[int, tuple[pytest.TestReport, AttachedRecord]] = {}

    def read(self, report: pytest.TestReport) -> AttachedRecord:
        """Return the record of a report; an empty one of a report that came without, as from a worker that died."""
        text = vars(report).get("bias_record")
        if text is None:
            return AttachedRecord()
        if id(report) not in self._records:
            self._records[id(report)] = report, _parsed(from_text(text))
        return self._records[id(report)][1]


def _parsed(content: dict[str, Any]) -> AttachedRecord:
    if content["bias"] is None:
        return AttachedRecord(**content)
    # Not imported by a session without bias tests.
    from pytest_biastransfer.reporting.from_json import from_plain
    from pytest_biastransfer.reporting.record import Record

    return AttachedRecord(**{**content, "bias": from_plain(Record, content["bias"])})
