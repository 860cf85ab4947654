"""The content of a report as plain data. All formats render it, and ``biastransfer compare`` reads it back."""

from pytest_biastransfer.reporting.report.details import Details, Group, Kind, Move, Role, Shares
from pytest_biastransfer.reporting.report.images import Picture, Saliency, Shown
from pytest_biastransfer.reporting.report.joining import merged, read_from
from pytest_biastransfer.reporting.report.json_file import read_report, to_json, to_plain
from pytest_biastransfer.reporting.report.result import ReportedChange, Result
from pytest_biastransfer.reporting.report.session_report import SCHEMA, Report, Session

__all__ = [
    "SCHEMA",
    "Details",
    "Group",
    "Kind",
    "Move",
    "Picture",
    "Report",
    "ReportedChange",
    "Result",
    "Role",
    "Saliency",
    "Session",
    "Shares",
    "Shown",
    "merged",
    "read_from",
    "read_report",
    "to_json",
    "to_plain",
]
