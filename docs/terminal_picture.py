"""Make docs/quickstart.svg, a failing session of the quickstart in a terminal: ``python -m docs.terminal_picture``.

The command runs twice. The picture is of the second session, which finds the predictions of the first one in the store.
"""

from __future__ import annotations

import io
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

PICTURE: Final = Path(__file__).parent / "quickstart.svg"
# The quickstart's ini file has -v, and so -q is what a session without options looks like.
COMMAND: Final = 'pytest examples/quickstart -q --runxfail -k "frozen or cure" --color=yes'
COLUMNS: Final = 120
THEME: Final = TerminalTheme(
    background=(24, 24, 27),
    foreground=(228, 228, 231),
    normal=[
        (63, 63, 70),
        (248, 113, 113),
        (74, 222, 128),
        (250, 204, 21),
        (96, 165, 250),
        (192, 132, 252),
        (34, 211, 238),
        (228, 228, 231),
    ],
)


def main() -> None:
    """Run the session, and write its picture."""
    for _ in range(2):
        output = session()
    console = Console(width=COLUMNS, record=True, file=io.StringIO(), force_terminal=True, legacy_windows=False)
    console.print(f"$ {COMMAND}", style="bold", highlight=False)
    console.print(Text.from_ansi(output))
    PICTURE.write_text(picture(console), encoding="utf-8")


def session() -> str:
    """Return what the command prints; it must end with failed tests."""
    environment = {**os.environ, "COLUMNS": str(COLUMNS)}
    arguments = [sys.executable, "-m", *shlex.split(COMMAND)]
    done = subprocess.run(
        arguments, check=False, cwd=PICTURE.parents[1], env=environment, capture_output=True, text=True
    )
    if done.returncode != 1:
        raise SystemExit(f"{COMMAND}: exit status {done.returncode}, expected 1\n{done.stdout}{done.stderr}")
    return done.stdout


def picture(console: Console) -> str:
    """Return the console's text as SVG in fonts of the reader's computer: pages load nothing from other sites."""
    svg = console.export_svg(title="pytest", theme=THEME, unique_id="quickstart")
    svg = re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL)
    return svg.replace("Fira Code, monospace", "ui-monospace, Menlo, Consolas, monospace")


if __name__ == "__main__":
    main()
