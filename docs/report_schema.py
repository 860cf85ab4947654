"""Write report.schema.json, the JSON Schema of the JSON reports, from the dataclasses that they consist of.

python -m docs.report_schema
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

SCHEMA_FILE: Final = Path(__file__).with_name("report.schema.json")
_TYPES: Final = {str: "string", int: "integer", float: "number", bool: "boolean"}


def schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a report."""
    definitions: dict[str, Any] = {}
    report = _of(Report, definitions)
    definitions["Report"]["properties"]["schema"] = {"const": SCHEMA}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Report of pytest-biastransfer",
        **report,
        "$defs": definitions,
    }


def text() -> str:
    """Return the schema as the text of the file."""
    return json.dumps(schema(), indent=1) + "\n"


def _of(kind: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    if dataclasses.is_dataclass(kind):
        name = typing.cast("type", kind).__name__
        if name not in definitions:
            definitions[name] = {}
            definitions[name] |= _object(typing.cast("type", kind), definitions)
        return {"$ref": f"#/$defs/{name}"}
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (typing.Union, types.UnionType):
        (inner,) = (argument for argument in arguments if argument is not types.NoneType)
        return {"anyOf": [_of(inner, definitions), {"type": "null"}]}
    if origin is Sequence:
        return {"type": "array", "items": _of(arguments[0], definitions)}
    if origin is Mapping:
        return {"type": "object", "additionalProperties": _of(arguments[1], definitions)}
    if origin is Literal:
        return {"enum": list(arguments)}
    return {} if kind is Any else {"type": _TYPES[kind]}


def _object(kind: type, definitions: dict[str, Any]) -> dict[str, Any]:
    hints = typing.get_type_hints(kind)
    descriptions = _attribute_descriptions(kind.__doc__ or "")
    properties = {
        field.name: _of(hints[field.name], definitions)
        | ({"description": descriptions[field.name]} if field.name in descriptions else {})
        for field in dataclasses.fields(kind)
    }
    return {
        "description": " ".join((kind.__doc__ or "").partition("\n\n")[0].split()),
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _attribute_descriptions(docstring: str) -> dict[str, str]:
    """Return the text that a docstring in numpy's style has for each attribute, by name."""
    _, _, attributes = docstring.partition("----------\n")
    descriptions: dict[str, str] = {}
    for names, lines in re.findall(r"^ {4}(\w[\w, ]*)\n((?: {8}.*\n?)+)", attributes, re.MULTILINE):
        description = " ".join(lines.split()).replace("``", "").replace("`", "")
        descriptions |= dict.fromkeys(names.split(", "), description)
    return descriptions


if __name__ == "__main__":
    SCHEMA_FILE.write_text(text(), encoding="utf-8")
