"""Names of one's own: from conftest files, plugins and pyproject.toml; what is declared wrongly is named with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_biastransfer import Blur, Composition, Grayscale, Random, Square, Stencil
from pytest_biastransfer.__main__ import main
from pytest_biastransfer.errors import InterventionError
from pytest_biastransfer.interventions import BUILT_IN
from pytest_biastransfer.interventions.pyproject import with_declared
from tests.conftest import MODES, Run, each_mode
from tests.support.small_datasets import noise, write_picture

HOOK = """

def pytest_bias_interventions():
    from pytest_biastransfer import Square
    return {"yellow-dot": Square(size=0.5)}
"""
TEST = """
import pytest

@pytest.mark.bias_intervention("yellow-dot", max_asr=0.1)
def test_dot():
    pass
"""
PROJECT = """
[tool.pytest_biastransfer.interventions.company-logo]
type = "Stencil"
path = "art/logo.png"
size = 0.5
anchor = "bottom-right"

[tool.pytest_biastransfer.interventions.foggy]
type = "Composition"
steps = [{ type = "Grayscale" }, { type = "Blur", sigma = 0.1 }]

[tool.pytest_biastransfer.interventions.anywhere]
type = "Random"
seed = 3
placed = { type = "Square", size = 0.5, color = [255, 0, 0], anchor = [0.5, 1] }
"""


# ----------------------------------------------------------------------------------------- conftest


def test_a_conftest_names_interventions(run: Run, colors: pytest.Pytester) -> None:
    conftest = colors.path / "conftest.py"
    conftest.write_text(conftest.read_text() + HOOK)
    colors.makepyfile(test_named=TEST)
    result = run()
    result.stdout.fnmatch_lines(
        [
            "*intervention  yellow-dot = Square(size=0.5, anchor='top-left', color=(255, 255, 0))",
            "test_named.py::test_dot",
            "  yellow-dot  asr *0.250 *<= 0.1  FAILED   above limit*",
        ]
    )
    assert result.ret == 1


def test_a_conftest_names_them_for_its_own_directory(run: Run, colors: pytest.Pytester) -> None:
    for name in ("inner", "outer"):
        (colors.path / name).mkdir()
        (colors.path / name / f"test_{name}.py").write_text(TEST)
    (colors.path / "inner" / "conftest.py").write_text(HOOK)
    result = run("--continue-on-collection-errors")
    result.stdout.fnmatch_lines(
        ["*outer/test_outer.py::test_dot: bias_intervention: no intervention is named 'yellow-dot'; did you mean*"]
    )
    result.stdout.fnmatch_lines(["inner/test_inner.py::test_dot", "  yellow-dot *FAILED *"])


@pytest.mark.parametrize(
    ("hook", "message"),
    [
        ('{"yellow-square": Square()}', "*conftest.py: pytest_bias_interventions: the name 'yellow-square' is taken, by pytest-biastransfer; choose another one"),
        ('{"dot": "red"}', "*conftest.py: pytest_bias_interventions: dot is 'red', expected an intervention such as Square(); wrap*"),
        ('{3: Square()}', "*conftest.py: pytest_bias_interventions: got the name 3, expected a word*"),
        ('[Square()]', "*conftest.py: pytest_bias_interventions: returned *Square(*, expected interventions by name*"),
    ],
)  # fmt: skip
def test_what_a_hook_returns_wrongly_is_named(colors: pytest.Pytester, hook: str, message: str) -> None:
    conftest = colors.path / "conftest.py"
    added = f"\n\ndef pytest_bias_interventions():\n    from pytest_biastransfer import Square\n    return {hook}\n"
    conftest.write_text(conftest.read_text() + added)
    colors.makepyfile(test_named=TEST)
    result = colors.runpytest_inprocess(*MODES["no:xdist"])
    result.stdout.fnmatch_lines([message])
    result.stdout.no_fnmatch_line("*Traceback*")
    assert result.ret != 0


def test_two_that_register_the_same_name_are_both_named(colors: pytest.Pytester) -> None:
    conftest = colors.path / "conftest.py"
    conftest.write_text(conftest.read_text() + HOOK)
    (colors.path / "pyproject.toml").write_text(
        "[tool.pytest_biastransfer.interventions.yellow-dot]\ntype = 'Grayscale'\n"
    )
    colors.makepyfile(test_named=TEST)
    result = colors.runpytest_inprocess(*MODES["no:xdist"])
    result.stdout.fnmatch_lines(
        ["*conftest.py: pytest_bias_interventions: the name 'yellow-dot' is taken, by *pyproject.toml: tool.*; choose*"]
    )


# ----------------------------------------------------------------------------------- pyproject.toml


def project(place: Path, content: str) -> Path:
    write_picture(place / "art" / "logo.png", noise(3, 8, 8))
    (place / "pyproject.toml").write_text(content)
    return place


def test_a_project_names_interventions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = with_declared(BUILT_IN, project(tmp_path, PROJECT))
    logo = str(tmp_path / "art" / "logo.png")
    assert registry.named("company-logo") == Stencil(logo, size=0.5, anchor="bottom-right")
    assert registry.named("foggy") == Composition(steps=(Grayscale(), Blur(sigma=0.1)))
    assert registry.named("anywhere") == Random(Square(size=0.5, color="red", anchor="bottom"), seed=3)
    assert set(registry.names) == {*BUILT_IN.names, "company-logo", "foggy", "anywhere"}
    # Where the file is in the current directory, reports are the same on every machine.
    monkeypatch.chdir(tmp_path)
    assert repr(with_declared(BUILT_IN, tmp_path).named("company-logo")).startswith("Stencil('art/logo.png', ")


def test_names_of_a_project_can_be_used_and_shown(
    run: Run, colors: pytest.Pytester, capsys: pytest.CaptureFixture[str]
) -> None:
    project(colors.path, PROJECT)
    colors.makepyfile(
        """
        import pytest

        @pytest.mark.bias_intervention("company-logo", "foggy", "anywhere", max_asr=1)
        def test_named():
            pass
        """
    )
    result = run("-v")
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines([f"  {name} *passed *" for name in ("anywhere", "company-logo", "foggy")])
    assert main(["list"]) == 0
    assert "  company-logo      Stencil('art/logo.png', size=0.5" in capsys.readouterr().out
    assert main(["show", "anywhere"]) == 0
    assert Path("intervention.png").exists()


KEY = r"pyproject\.toml: tool\.pytest_biastransfer\.interventions"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[tool.pytest_biastransfer.interventions.dot]\nsize = 1", rf"{KEY}\.dot: no type; expected one such as"),
        ("[tool.pytest_biastransfer.interventions.dot]\ntype = 'Sqare'", rf"{KEY}\.dot: there is no intervention 'Sqare'; did you mean Square"),
        ("[tool.pytest_biastransfer.interventions.dot]\ntype = 'Square'\nsise = 1", rf"{KEY}\.dot: Square has no 'sise'; did you mean size"),
        ("[tool.pytest_biastransfer.interventions.dot]\ntype = 'Square'\nsize = 2", rf"{KEY}\.dot: Square: size=2, expected a number above 0"),
        ("[tool.pytest_biastransfer.interventions.dot]\ntype = 'Square'\nsize = '1'", rf"{KEY}\.dot: Square: size='1', expected a number"),
        ("[tool.pytest_biastransfer.interventions.dot]\ntype = 'Square'\ncolor = 'yelow'", rf"{KEY}\.dot: color 'yelow'.*did you mean yellow"),
        ("[tool.pytest_biastransfer.interventions.dot]\ntype = 'Stencil'", rf"{KEY}\.dot: Stencil needs path="),
        ("[tool.pytest_biastransfer.interventions.dot]\ntype = 'Stencil'\npath = 'x.png'", rf"{KEY}\.dot: Stencil: path='.*x\.png' cannot be read"),
        ("[tool.pytest_biastransfer.interventions.dot]\ntype = 'Custom'", rf"{KEY}\.dot: Custom has a function.*pytest_bias_interventions in conftest\.py"),
        ("[tool.pytest_biastransfer.interventions.dot]\ntype = 'Random'\nplaced = {type = 'Square', size = 0}", rf"{KEY}\.dot\.placed: Square: size=0"),
        ("[tool.pytest_biastransfer.interventions.dot]\ntype = 'Composition'\nsteps = [{type = 'Blur'}, {type = 'Blr'}]", rf"{KEY}\.dot\.steps\[1\]: there is no intervention 'Blr'"),
        ("[tool.pytest_biastransfer.interventions.jpeg]\ntype = 'Blur'", rf"{KEY}: the name 'jpeg' is taken, by pytest-biastransfer"),
        ("[tool.pytest_biastransfer.interventions]\ndot = 'Square()'", rf"{KEY}\.dot: is 'Square\(\)', expected a table"),
        ("[tool.pytest_biastransfer]\ninterventions = 3", r"pyproject\.toml: tool\.pytest_biastransfer\.interventions: is 3, expected a table"),
        ("[tool.pytest_biastransfer.intervention.dot]\ntype = 'Blur'", r"tool\.pytest_biastransfer\.intervention: unknown key; did you mean interventions"),
        ("[tool", r"pyproject\.toml: cannot be read"),
    ],
)  # fmt: skip
def test_mistakes_name_the_file_and_the_key(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(InterventionError, match=message):
        with_declared(BUILT_IN, project(tmp_path, content))


@each_mode
def test_a_mistake_is_one_line_of_a_session(run: Run, colors: pytest.Pytester) -> None:
    project(colors.path, "[tool.pytest_biastransfer.interventions.dot]\ntype = 'Square'\nsize = 2")
    colors.makepyfile(TEST.replace("yellow-dot", "dot"))
    result = run()
    result.stdout.fnmatch_lines(
        ["*pyproject.toml: tool.pytest_biastransfer.interventions.dot: Square: size=2, expected a number above 0*"]
    )
    result.stdout.no_fnmatch_line("*Traceback*")
    assert result.ret != 0


def test_a_project_without_a_table_of_ours_is_left_alone(tmp_path: Path) -> None:
    assert with_declared(BUILT_IN, tmp_path) is BUILT_IN
    assert with_declared(BUILT_IN, project(tmp_path, "[tool.other]\nx = 1")) is BUILT_IN
