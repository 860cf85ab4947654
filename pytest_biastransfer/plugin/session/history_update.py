"""``--bias-update=history``: this run becomes a part of the histories of the entries that it was compared with."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from pytest_biastransfer.baseline.entry import EntryKey
from pytest_biastransfer.baseline.history import nights_of
from pytest_biastransfer.baseline.over_time import with_night
from pytest_biastransfer.reporting.wording import counted

if TYPE_CHECKING:
    from pytest_biastransfer.baseline.comparison import BaselineRecord
    from pytest_biastransfer.baseline.file import Entries


def with_run(entries: Entries, records: Iterable[BaselineRecord]) -> tuple[Entries, str]:
    """Return the entries with this run in their histories, and what became of it in words.

    Nothing else changes. A test whose run may not be counted, or is counted already, is told in words.
    """
    updated, is_counted = dict(entries), []
    for record in records:
        key = EntryKey(*record.key)
        # Another process may have removed the entry since it was compared.
        if record.night and key in entries:
            (night,) = nights_of([record.night])
            updated[key] = with_night(entries[key], night)
            is_counted.append(updated[key] is not entries[key])
        else:
            is_counted.append(False)
    text = f"this run is counted for {counted(sum(is_counted), 'test')}"
    missing = len(is_counted) - sum(is_counted)
    reason = "their images are not new, or they were not compared"
    return updated, f"{text}, not for {missing} ({reason})" if missing else text
