"""What workers tell the controller while they run, in small files that outlive the worker that wrote them.

pytest-xdist carries nothing else from a worker before it ends, and a worker that is killed never ends.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def write_notice(directory: Path, worker: str, kind: str, content: Any) -> None:
    """Leave a notice, replacing the worker's earlier one of that kind. `content` is anything JSON can hold."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    written = directory / f"{worker}.{kind}.part"
    written.write_text(json.dumps(content), encoding="utf-8")
    written.replace(directory / f"{worker}.{kind}")


def read_notices(directory: Path, kind: str) -> Iterator[Any]:
    """Yield the notices of a kind, in the order of the workers' names."""
    for path in sorted(directory.glob(f"*.{kind}")):
        try:
            content = path.read_text(encoding="utf-8")
        except FileNotFoundError:  # Its worker has died meanwhile.
            continue
        yield json.loads(content)
