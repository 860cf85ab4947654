"""docs/papers.md names only calls, markers, files and tests that exist, and each of its rows has a state."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple, get_args

import pytest

import pytest_biastransfer
from pytest_biastransfer import transfer
from pytest_biastransfer.data.loading import SCHEMES as DATASET_SCHEMES
from pytest_biastransfer.errors import BiasTransferError
from pytest_biastransfer.interventions import BUILT_IN
from pytest_biastransfer.models.loading import SCHEMES as MODEL_SCHEMES
from pytest_biastransfer.names import MARKERS, Outputs
from pytest_biastransfer.plugin.collection.markers import cases_of
from pytest_biastransfer.specs.spec import Spec
from pytest_biastransfer.transfer.recipe import Mode

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = ROOT / "docs" / "papers.md"
STATES: Final = ("done", "done in small", "not yet", "not here")
PUBLIC: Final = {name: getattr(module, name) for module in (pytest_biastransfer, transfer) for name in module.__all__}
# Words that an argument takes; a signature does not say which.
CHOICES: Final[Mapping[str, tuple[object, ...]]] = {"mode": get_args(Mode), "outputs": get_args(Outputs)}
SPEC: Final = re.compile(r"[a-z]+:\S+")


class Row(NamedTuple):
    """A row of one of the two tables."""

    paper: str
    result: str
    here: str
    state: str


def rows(text: str) -> list[Row]:
    """Return the rows of the tables of four columns, without headings."""
    lines = [line.split("|")[1:-1] for line in text.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line] for line in lines if len(line) == 4]
    return [Row(*row) for row in cells if row[0] not in ("the paper", "---") and any(row[1:])]


ROWS: Final = rows(PAGE.read_text(encoding="utf-8"))
TOKENS: Final = sorted({token for row in ROWS for token in re.findall(r"`([^`]+)`", row.here)})


@cache
def names_of_tests() -> frozenset[str]:
    """Return the names of all tests of the project and of its examples."""
    files = [*ROOT.glob("tests/**/test_*.py"), *ROOT.glob("examples/*/test_*.py")]
    return frozenset(name for file in files for name in re.findall(r"^def (test_\w+)", file.read_text("utf-8"), re.M))


def require_spec(text: str) -> None:
    """Require a spec of a scheme that exists."""
    assert Spec.parse(text).scheme in {*MODEL_SCHEMES, *DATASET_SCHEMES}, text


class Placeholder(ast.NodeVisitor):
    """Whether an expression has names that are not public: objects of a user."""

    def __init__(self) -> None:
        self.found = False

    def visit_Name(self, node: ast.Name) -> None:
        self.found |= node.id not in PUBLIC


def has_placeholder(node: ast.AST) -> bool:
    visitor = Placeholder()
    visitor.visit(node)
    return visitor.found


def value(node: ast.expr) -> Any:
    """Return the value of an argument; a name that is not public stands for an object of a user."""
    if isinstance(node, ast.Call):
        return called(node)
    if isinstance(node, ast.Name):
        return PUBLIC.get(node.id, node.id)
    if isinstance(node, ast.List | ast.Tuple):
        return tuple(map(value, node.elts))
    if isinstance(node, ast.Dict):
        return {ast.literal_eval(key): value(own) for key, own in zip(node.keys, node.values, strict=True) if key}
    found = ast.literal_eval(node)
    if isinstance(found, str) and SPEC.fullmatch(found):
        require_spec(found)
    return found


def called(node: ast.Call) -> Any:
    """Check a call: its name, its arguments and, where no object of a user takes part, the object that it makes."""
    assert isinstance(node.func, ast.Name), ast.unparse(node)
    arguments = [value(argument) for argument in node.args]
    keywords = {str(keyword.arg): value(keyword.value) for keyword in node.keywords}
    if node.func.id in MARKERS:
        mark = getattr(pytest.mark, node.func.id).with_args(*arguments, **keywords).mark
        return cases_of([mark], PAGE.name, BUILT_IN)
    function = PUBLIC[node.func.id]
    bound = inspect.signature(function).bind(*arguments, **keywords).arguments
    for name, choices in CHOICES.items():
        assert bound.get(name, choices[0]) in choices, ast.unparse(node)
    for intervention in (text for name, text in bound.items() if name in ("intervention", "asked")):
        assert not isinstance(intervention, str) or BUILT_IN.named(intervention)
    is_ready = isinstance(function, type) and not any(map(has_placeholder, [*node.args, *node.keywords]))
    return function(*arguments, **keywords) if is_ready else None


def resolve(token: str) -> None:
    """Fail if the project does not have what a token names."""
    if re.fullmatch(r"test_\w+", token):
        assert token in names_of_tests(), token
    elif SPEC.fullmatch(token):
        require_spec(token)
    elif re.fullmatch(r"[\w./-]+/[\w./-]+", token):
        assert (ROOT / token).exists(), token
    else:
        node = ast.parse(token, mode="eval").body
        if isinstance(node, ast.Call):
            called(node)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            assert hasattr(PUBLIC[node.value.id], node.attr), token
        else:
            assert token in PUBLIC, token


@pytest.mark.parametrize("token", TOKENS)
def test_what_a_row_names_exists(token: str) -> None:
    resolve(token)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.paper[:60])
def test_a_row_has_a_state_and_what_is_done_is_named(row: Row) -> None:
    state = re.match(r"`([^`]+)`(.*)", row.state)
    assert state is not None
    assert state[1] in STATES
    assert row.paper
    if state[1].startswith("done"):
        assert re.search(r"`[^`]+`|\]\([^)]+\)", row.here), "what does it here?"
    if state[1] == "not here":
        assert state[2].startswith(": "), "why not?"


def test_the_page_has_both_papers() -> None:
    assert len(ROWS) > 50
    assert len(TOKENS) > 50


@pytest.mark.parametrize(
    "token",
    [
        "planted(data, 'yellow-square', 0.1)",
        "plant(data, 'yellow-sqare', 0.1)",
        "plant(data, 'yellow-square', share=0.1)",
        "transfer(source, data, 'full-netwrok')",
        "Recipe(weight_decai=0.1)",
        "Recipe(weight_decay=-1)",
        "Model(module, outputs='sigmoids')",
        "Gap('male', 'fnr', positive='Smiling')",
        "attribute_bias(source, control, data, test_images, Gap('male', 'fpr', negative='Smiling'))",
        "bias_gap('male', 'fpr', positive='Smiling', max_gapp=0.1)",
        "bias_gap('male', 'fpr', positive='Smiling')",
        "bias_intervention('tennis-bal', max_asr=0.1)",
        "load_model('torchvison:resnet18')",
        "imagefolders:data/val",
        "DoseResponse.smallest",
        "test_nothing_of_this_name",
        "tests/transfer/test_heads.pyc",
        "no_such_name",
    ],
)
def test_a_wrong_name_is_noticed(token: str) -> None:
    with pytest.raises((AssertionError, BiasTransferError, KeyError, TypeError)):
        resolve(token)
