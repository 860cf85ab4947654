"""Each snippet of the documents imports what it uses, from where it is."""

from __future__ import annotations

import ast
import builtins
import importlib
import re
import symtable
import textwrap
from pathlib import Path
from typing import Final, NamedTuple

import pytest

import pytest_biastransfer

ROOT: Final = Path(__file__).parents[2]
PAGES: Final = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("examples/*/README.md")])
BLOCK: Final = re.compile(r"^( *)```python\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
# What only the reader can have.
READERS_OWN: Final = frozenset({"module", "model"})
# The snippets of this page continue each other, as the cells of a notebook do.
CONTINUED: Final = "docs/notebook.md"
# These are written into a module of the package, whose imports are there.
FRAGMENTS: Final = (
    "def wrong_to_wrong(",
    "ClassMetric(",
    "@dataclass(frozen=True, kw_only=True, repr=False)\nclass Posterize",
)


class Snippet(NamedTuple):
    """A block of Python in a page."""

    page: str
    line: int
    code: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def snippets() -> list[Snippet]:
    blocks = []
    for path in PAGES:
        text, page = path.read_text(encoding="utf-8"), path.relative_to(ROOT).as_posix()
        for match in BLOCK.finditer(text):
            code = textwrap.dedent(match[2])
            if not code.startswith(FRAGMENTS):
                blocks.append(Snippet(page, text.count("\n", 0, match.start()) + 1, code))
    return blocks


def undefined(code: str) -> set[str]:
    """Return the global names that a piece of code uses, and neither defines nor imports."""
    used: set[str] = set()
    defined: set[str] = set()
    tables = [symtable.symtable(code, "snippet", "exec")]
    while tables:
        table = tables.pop()
        tables += table.get_children()
        for symbol in table.get_symbols():
            if symbol.is_assigned() or symbol.is_imported() or symbol.is_parameter() or symbol.is_namespace():
                defined.add(symbol.get_name())
            if symbol.is_global() or (table.get_type() == "module" and symbol.is_referenced()):
                used.add(symbol.get_name())
    return used - defined - set(dir(builtins)) - {"__file__", "__name__"}


@pytest.mark.parametrize("snippet", snippets(), ids=str)
def test_a_snippet_imports_what_it_uses(snippet: Snippet) -> None:
    code = snippet.code
    if snippet.page == CONTINUED:
        code = "".join(other.code for other in snippets() if other.page == CONTINUED and other.line <= snippet.line)
    assert undefined(code) - READERS_OWN == set()


def test_a_name_without_an_import_is_noticed() -> None:
    assert undefined("@pytest.fixture\ndef model():\n    return Model(zoo)") == {"pytest", "Model", "zoo"}
    assert undefined("import zoo\n\ndef model(seed: int):\n    return [zoo(seed + n) for n in range(3)]") == set()


@pytest.mark.parametrize("snippet", snippets(), ids=str)
def test_what_a_snippet_imports_from_the_package_exists(snippet: Snippet) -> None:
    for node in ast.walk(ast.parse(snippet.code)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == pytest_biastransfer.__name__:
            module = importlib.import_module(node.module or "")
            assert [alias.name for alias in node.names if not hasattr(module, alias.name)] == []
