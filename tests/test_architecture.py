"""The architecture of the package: which room may import which, no circles of imports, few loose modules, names that say something.

docs/architecture.md describes the rooms. grimp reads the imports from the source code, those in functions and those for
type checkers included, and imports nothing of it.
"""

from __future__ import annotations

import ast
import graphlib
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import grimp
import pytest

PACKAGE: Final = "pytest_biastransfer"
ROOT: Final = Path(__file__).parents[1] / PACKAGE

# From the top. A room imports only rooms below it; rooms on one line do not import each other.
LAYERS: Final[tuple[frozenset[str], ...]] = (
    frozenset({"__main__"}),
    frozenset({"cli"}),
    frozenset({"plugin"}),
    frozenset({"reporting"}),
    frozenset({"transfer"}),
    frozenset({"search"}),
    frozenset({"measurement"}),
    frozenset({"evaluation"}),
    # Labelled images carry the preprocessing of the model that sees them.
    frozenset({"data"}),
    frozenset({"models"}),
    frozenset({"baseline", "judgement", "strategies"}),
    frozenset({"interventions", "metrics", "store", "specs"}),
    # Interventions are identified, and files of the store are named, by fingerprints.
    # Results, in whatever room, are displayed by the same cards, plots and frames.
    frozenset({"fingerprints", "display"}),
    # Whatever takes long reports how far it is.
    frozenset({"progress"}),
    frozenset({"picture_files", "optional_dependencies"}),
    frozenset({"errors"}),
    frozenset({"names", "plain_text", "regular_files", "_version"}),
)
MOST_LOOSE_MODULES: Final = 9
# Words that name nothing. A few are terms of the field where they stand, such as "part" of a path.
FILLERS: Final = frozenset(
    {
        "asked", "both", "drawn", "found", "given", "kept", "known", "more",
        "one", "part", "place", "seen", "those", "told", "what", "words",
    }
)  # fmt: skip
LARGEST_SHARE_OF_FILLERS: Final = 0.01
# In lines. A docstring does not count: it may have parameters, errors, a table and an example.
LONGEST_MODULE: Final = 360
LONGEST_FUNCTION: Final = 65


@pytest.fixture(scope="module")
def imports() -> grimp.ImportGraph:
    return grimp.build_graph(PACKAGE, cache_dir=None)


def circle(graph: grimp.ImportGraph) -> list[str]:
    """Return the modules of a circle of imports, the first one again at the end; empty if there is none."""
    dependencies = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    try:
        graphlib.TopologicalSorter(dependencies).prepare()
    except graphlib.CycleError as error:
        modules: list[str] = error.args[1]
        return modules[::-1]
    return []


def violations(graph: grimp.ImportGraph) -> Iterator[str]:
    """Yield each chain of imports that leads from a room to one on its own line or above."""
    layers = [grimp.Layer(*sorted(layer), independent=True) for layer in LAYERS]
    for dependency in graph.find_illegal_dependencies_for_layers(layers, containers={PACKAGE}):
        for route in dependency.routes:
            for head in sorted(route.heads):
                yield " imports ".join([head, *route.middle, sorted(route.tails)[0]])


def bound_names(tree: ast.AST) -> Iterator[str]:
    """Yield the names that code gives to something: variables, attributes, parameters, functions, classes, aliases."""
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()) | ast.arg(arg=name):
                yield name
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.ExceptHandler(name=str(name)) | ast.alias(asname=str(name)) | ast.MatchAs(name=str(name)):
                yield name


def lengths_of_functions(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Yield the functions with their numbers of lines, without docstrings."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            docstring = node.body[0] if ast.get_docstring(node) is not None else None
            lines = 0 if docstring is None else (docstring.end_lineno or 0) - docstring.lineno + 1
            yield node.name, (node.end_lineno or 0) - node.lineno + 1 - lines


def test_each_room_has_a_place_in_the_layers(imports: grimp.ImportGraph) -> None:
    rooms = {module.removeprefix(f"{PACKAGE}.") for module in imports.find_children(PACKAGE)}
    assert rooms == frozenset().union(*LAYERS)


def test_rooms_import_only_rooms_below_them(imports: grimp.ImportGraph) -> None:
    chains = sorted(violations(imports))
    assert not chains, "\n".join(chains)


def test_there_is_no_circle_of_imports(imports: grimp.ImportGraph) -> None:
    modules = circle(imports)
    assert not modules, " imports ".join(modules)


def test_imports_in_functions_and_for_type_checkers_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "two_modules"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "first.py").write_text("def function():\n    from two_modules import second\n")
    (package / "second.py").write_text(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from two_modules.first import function\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "two_modules", raising=False)
    modules = circle(grimp.build_graph("two_modules", cache_dir=None))
    assert set(modules) == {"two_modules.first", "two_modules.second"}


def test_few_modules_stand_outside_the_rooms() -> None:
    loose = sorted(path.name for path in ROOT.glob("*.py") if path.name != "__init__.py")
    assert len(loose) <= MOST_LOOSE_MODULES, loose


def test_names_are_nouns_and_verbs_of_the_field() -> None:
    names = Counter(
        name.strip("_").lower()
        for path in ROOT.rglob("*.py")
        for name in bound_names(ast.parse(path.read_text(encoding="utf-8")))
    )
    fillers = Counter({name: count for name, count in names.items() if name in FILLERS})
    assert fillers.total() / names.total() < LARGEST_SHARE_OF_FILLERS, fillers.most_common()


def test_modules_and_functions_are_short() -> None:
    texts = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in ROOT.rglob("*.py")}
    long_modules = {module: text.count("\n") for module, text in texts.items() if text.count("\n") > LONGEST_MODULE}
    long_functions = {
        f"{module}: {name}": lines
        for module, text in texts.items()
        for name, lines in lengths_of_functions(ast.parse(text))
        if lines > LONGEST_FUNCTION
    }
    assert (long_modules, long_functions) == ({}, {})


def test_the_length_of_a_function_is_that_of_its_code() -> None:
    source = 'def function():\n    """Return.\n\n    Nothing.\n    """\n    value = 1\n    return value\n'
    assert list(lengths_of_functions(ast.parse(source))) == [("function", 3)]
