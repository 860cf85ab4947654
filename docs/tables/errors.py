"""The index of error messages, from the source of the package."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import pytest_biastransfer
from docs.tables.markup import code, table

PACKAGE: Final = Path(pytest_biastransfer.__file__).parent
# What a message shows in place of a value that is known only when it is raised.
VALUE: Final = "…"
_ERROR: Final = re.compile(r"(?:[a-z]\w*\.)*[A-Z]\w*(?:Error|Warning|Exceeded|Regression|Failed)")
# A message with fewer words is composed elsewhere: the call only passes it on.
_FEWEST_WORDS: Final = 2
# Escapes that a person would not search for.
_SPACE: Final = re.compile(r"\s+")


class Message(NamedTuple):
    """The text of an error, the name of its class, and the module that raises it."""

    text: str
    error: str
    module: str


def errors() -> str:
    """Return the index: a section for each room of the package, a table of its messages in each."""
    rooms: dict[str, set[Message]] = defaultdict(set)
    for message in messages():
        room, separator, _ = message.module.partition("/")
        rooms[f"{room}/" if separator else "the package's root"].add(message)
    return "\n".join(_section(room, rooms[room]) for room in sorted(rooms))


def _section(room: str, found: set[Message]) -> str:
    rows = sorted((message.text.lstrip(f"{VALUE}:' "), message) for message in found)
    cells = [(code(message.text), f"{message.error}<br>{code(message.module)}") for _, message in rows]
    return f"## {room.rstrip('/')}\n\n{table(['message', 'error and module'], cells)}"


def messages() -> Iterator[Message]:
    """Yield every message that the package raises, or warns of, in the order of the modules."""
    for path in sorted(PACKAGE.rglob("*.py")):
        module = path.relative_to(PACKAGE).as_posix()
        for text, error in messages_of(path.read_text(encoding="utf-8")):
            yield Message(text, error, module)


def messages_of(source: str) -> Iterator[tuple[str, str]]:
    """Yield the messages of a source text and the names of their errors.

    A message is the first text in a call of an error's class, or of a function whose result is raised.

    >>> list(messages_of('raise SpecError(f"{path}: expected a file, found a folder")'))
    [('…: expected a file, found a folder', 'SpecError')]
    """
    tree = ast.parse(source)
    raised = {id(node.exc) for node in ast.walk(tree) if isinstance(node, ast.Raise)}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        is_error = _ERROR.fullmatch(name) is not None
        if is_error or id(node) in raised or name in ("warnings.warn", "warn"):
            texts = (_text(argument) for argument in node.args)
            text = next((text for text in texts if len(re.findall(r"[A-Za-z]{2,}", text)) >= _FEWEST_WORDS), None)
            if text is not None:
                yield text, name.rpartition(".")[2] if is_error else "–"


def _text(node: ast.expr) -> str:
    """Return the text of an expression, with `VALUE` for what is not written in it."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        text = node.value
    elif isinstance(node, ast.JoinedStr):
        text = "".join(map(_text, node.values))
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        text = _text(node.left) + _text(node.right)
    else:
        return VALUE
    return re.sub(f"{VALUE}+", VALUE, _SPACE.sub(" ", text))
