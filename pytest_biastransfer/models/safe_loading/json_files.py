"""Reads the JSON files beside a model."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pytest_biastransfer.errors import ModelError
from pytest_biastransfer.specs.spec import Spec


def read_json(spec: Spec, path: Path, of: Callable[[Any], Any] = lambda content: content) -> Any:
    """Return the content of a file, or what a function makes of it.

    Raises `ModelError` for a file that cannot be read, is not JSON, or is nested too deeply for the function.
    """
    try:
        return of(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"spec {spec.text!r}: {path} cannot be loaded: not JSON ({error})") from error
