"""Writes report.schema.json, the form of the JSON reports, from the classes that they are made of.

python docs/report_schema.py
"""

from __future__ import annotations

import dataclasses
import json
import re
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal, get_args, get_origin

from pytest_biastransfer.reporting.report import SCHEMA, Report

PLACE: Final = Path(__file__).with_name("report.schema.json")
_TYPES: Final = {str: "string", int: "integer", float: "number", bool: "boolean"}


def schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a report."""
    definitions: dict[str, Any] = {}
    whole = _of(Report, definitions)
    definitions["Report"]["properties"]["schema"] = {"const": SCHEMA}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Report of pytest-biastransfer",
        **whole,
        "$defs": definitions,
    }


def text() -> str:
    """Return it as the file has it."""
    return json.dumps(schema(), indent=1) + "\n"


def _of(kind: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    if dataclasses.is_dataclass(kind):
        name = typing.cast("type", kind).__name__
        if name not in definitions:
            definitions[name] = {}
            definitions[name] |= _object(typing.cast("type", kind), definitions)
        return {"$ref": f"#/$defs/{name}"}
    origin, parts = get_origin(kind), get_args(kind)
    if origin in (typing.Union, types.UnionType):
        (inner,) = (part for part in parts if part is not types.NoneType)
        return {"anyOf": [_of(inner, definitions), {"type": "null"}]}
    if origin is Sequence:
        return {"type": "array", "items": _of(parts[0], definitions)}
    if origin is Mapping:
        return {"type": "object", "additionalProperties": _of(parts[1], definitions)}
    if origin is Literal:
        return {"enum": list(parts)}
    return {} if kind is Any else {"type": _TYPES[kind]}


def _object(kind: type, definitions: dict[str, Any]) -> dict[str, Any]:
    hints = typing.get_type_hints(kind)
    told = _told(kind.__doc__ or "")
    properties = {
        field.name: _of(hints[field.name], definitions)
        | ({"description": told[field.name]} if field.name in told else {})
        for field in dataclasses.fields(kind)
    }
    return {
        "description": " ".join((kind.__doc__ or "").partition("\n\n")[0].split()),
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _told(docstring: str) -> dict[str, str]:
    """Return what a docstring says of each attribute."""
    _, _, attributes = docstring.partition("----------\n")
    found: dict[str, str] = {}
    for names, told in re.findall(r"^ {4}(\w[\w, ]*)\n((?: {8}.*\n?)+)", attributes, re.MULTILINE):
        found |= dict.fromkeys(names.split(", "), " ".join(told.split()).replace("``", "").replace("`", ""))
    return found


if __name__ == "__main__":
    PLACE.write_text(text(), encoding="utf-8")
