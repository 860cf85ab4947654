"""The tutorial works as it is written: its files are saved, its commands are run, and each ends as the text says."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from pytest_biastransfer.__main__ import main

PAGE: Final = (Path(__file__).parents[2] / "docs" / "tutorial.md").read_text(encoding="utf-8")
COMMANDS: Final = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
FILES: Final = dict(re.findall(r"^```python\n# (\w+\.py)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))


def run(command: str, directory: Path) -> subprocess.CompletedProcess[str]:
    """Run a line of the tutorial as its environment would; `biastransfer` is that of this source."""
    if command.startswith("biastransfer"):
        command = f"python -m pytest_biastransfer {command.removeprefix('biastransfer')}"
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1", "COLUMNS": "120"}
    return subprocess.run(
        ["bash", "-c", command], cwd=directory, env=environment, capture_output=True, text=True, check=False
    )


def shares(output: str) -> dict[str, tuple[float, float, float]]:
    """Return the asr, that of the control model and the excess of each intervention that `scan` ranked."""
    line = re.compile(r"^ *\d+  (\S+) +(\d\.\d+) \[.*?\].*?(\d\.\d+) +(-?\d\.\d+) \[", re.MULTILINE)
    return {name: (float(asr), float(control), float(excess)) for name, asr, control, excess in line.findall(output)}


@pytest.mark.skipif(sys.platform == "win32" or shutil.which("bash") is None, reason="needs bash")
def test_every_command_of_the_tutorial(tmp_path: Path) -> None:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    make, init, scan, first, again, accept, compare = COMMANDS
    assert (made := run(make, tmp_path)).returncode == 0, made.stderr
    assert {path.name for path in tmp_path.glob("*.pt")} == {"shapes.pt", "control.pt", "cured.pt"}

    checked = run(init, tmp_path)
    assert checked.returncode == 0, checked.stderr
    accuracies = [float(number) for number in re.findall(r"accuracy (\d\.\d+)", checked.stdout)]
    assert len(accuracies) == 2
    assert min(accuracies) > 0.9

    ranked = run(scan, tmp_path)
    assert ranked.returncode == 0, ranked.stderr
    effects = shares(ranked.stdout)
    # As the text says: half of all predictions, none of the control model's; a ball disturbs that one, too.
    asr, control, excess = effects["yellow-square"]
    assert asr > 0.4
    assert control < 0.05
    assert excess == max(excess for *_, excess in effects.values())
    assert effects["tennis-ball"][1] > 0.1
    assert (tmp_path / "test_bias.py").exists()

    red = run(first, tmp_path)
    assert red.returncode == 1, red.stdout
    assert "asr_excess" in red.stdout
    assert re.search(r"\b0 images evaluated", red.stdout)
    assert "yellow-square" in (tmp_path / "bias.html").read_text(encoding="utf-8")

    ini = tmp_path / "pytest.ini"
    ini.write_text(ini.read_text(encoding="utf-8").replace("shapes.pt", "cured.pt"), encoding="utf-8")
    assert (green := run(again, tmp_path)).returncode == 0, green.stdout

    assert (accepted := run(accept, tmp_path)).returncode == 0, accepted.stdout
    assert (tmp_path / "bias-baseline.json").exists()
    assert (compared := run(compare, tmp_path)).returncode == 0, compared.stdout

    # The baseline is what catches a checkpoint that is worse.
    ini.write_text(ini.read_text(encoding="utf-8").replace("cured.pt", "shapes.pt"), encoding="utf-8")
    assert run(compare, tmp_path).returncode == 1


@pytest.mark.parametrize("command", [command for command in COMMANDS if "biastransfer " in command])
def test_the_command_line_takes_its_commands(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    name = command.split()[1]
    with pytest.raises(SystemExit, match="0"):
        main([name, "--help"])
    usage = capsys.readouterr().out
    assert all(option in usage for option in re.findall(r"--[a-z-]+", command))


def test_all_its_files_are_used() -> None:
    assert list(FILES) == ["network.py", "make_checkpoints.py", "test_mark.py"]
    assert all(name in "".join(COMMANDS) or name == "network.py" for name in FILES)
