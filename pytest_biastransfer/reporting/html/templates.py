"""The templates beside this module, and the filters and globals that they use."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any, Final

import jinja2
from markupsafe import Markup

from pytest_biastransfer.reporting.change_text import change_text
from pytest_biastransfer.reporting.html import wording
from pytest_biastransfer.reporting.html.glossary import MetricName, metric_name, tooltips
from pytest_biastransfer.reporting.wording import counted, shortened

_PACKAGE: Final = "pytest_biastransfer.reporting.html"
# Each page has all of them, in this order: rules of a later style sheet override those of an earlier one.
_STYLES: Final = ("page.css", "first_screen.css", "navigation.css", "pictures.css")
_SCRIPTS: Final = ("page.js", "navigation.js", "pictures.js")
_FILTERS: Final[Mapping[str, Any]] = {
    "basis": wording.basis,
    "breakable": wording.breakable,
    "bound": wording.bound,
    "broken": wording.broken,
    "change": change_text,
    "counted": counted,
    "duration": wording.duration,
    "figure": wording.figure,
    "metric": metric_name,
    "moment": wording.moment,
    "percent": wording.percent,
    "short": shortened,
    "shown_title": wording.shown_title,
    "spread": wording.spread,
    "unbroken": wording.unbroken,
    "standing": wording.standing,
    "verdict": wording.verdict,
    # Without the decimal point of a whole number.
    "g": lambda number: f"{number:g}",
}


def rendered(template: str, metrics: Sequence[MetricName] = (), **variables: Any) -> str:
    """Return the page that a template makes of its variables, with tooltips for the metrics that it names.

    The page contains the style sheets and the scripts. Its content security policy lets it load and run nothing else.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(_PACKAGE, ""),
        autoescape=True,
        # A misspelt variable must fail in a test, and not leave a gap in a page.
        undefined=jinja2.StrictUndefined,
        finalize=_printable,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(_FILTERS)
    environment.globals.update(outcome_labels=wording.OUTCOME_LABELS, tones=wording.TONES)
    script = "".join(map(_text, _SCRIPTS))
    return environment.get_template(template).render(
        # These files and the catalogue's explanations are part of the package. What comes from a report is escaped.
        style=Markup("".join(map(_text, _STYLES))),
        tips=Markup(tooltips(metrics)),
        metrics=metrics,
        script=Markup(script),
        # The content security policy allows the script with this hash and no other, in case escaping ever fails.
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        **variables,
    )


def _text(name: str) -> str:
    return files(_PACKAGE).joinpath(name).read_text(encoding="utf-8")


def _printable(value: Any) -> Any:
    # Applied to every value that a template prints: names may hold characters that HTML or UTF-8 cannot.
    return wording.printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value
