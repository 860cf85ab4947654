"""The templates beside this module, and what they may use."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from importlib.resources import files
from typing import Any, Final

import jinja2
from markupsafe import Markup

from pytest_biastransfer.reporting.change_text import change_text
from pytest_biastransfer.reporting.html import wording
from pytest_biastransfer.reporting.wording import counted, shortened

_PACKAGE: Final = "pytest_biastransfer.reporting.html"
_FILTERS: Final[Mapping[str, Any]] = {
    "basis": wording.basis,
    "broken": wording.broken,
    "change": change_text,
    "counted": counted,
    "demand": wording.demand,
    "duration": wording.duration,
    "figure": wording.figure,
    "moment": wording.moment,
    "percent": wording.percent,
    "short": shortened,
    "spread": wording.spread,
    "verdict": wording.verdict,
    # 38.0 is written 38.
    "g": lambda number: f"{number:g}",
}


def rendered(template: str, **given: Any) -> str:
    """Return a page; the style sheet and the script are a part of it, and nothing else may be loaded or run."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(_PACKAGE, ""),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_printable,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(_FILTERS)
    environment.globals.update(words=wording.OUTCOME_WORDS, tones=wording.TONES)
    script = _text("page.js")
    return environment.get_template(template).render(
        # They are ours, and hold nothing of a report.
        style=Markup(_text("page.css")),
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        **given,
    )


def _text(name: str) -> str:
    return files(_PACKAGE).joinpath(name).read_text(encoding="utf-8")


def _printable(value: Any) -> Any:
    # Pages are written in UTF-8, whatever the names in them are.
    return wording.printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value
