"""What ``biastransfer --help`` says: the commands in groups, with examples; and the completion of shells."""

from __future__ import annotations

import argparse
import os
import shutil
import textwrap
from collections.abc import Sequence
from typing import Any, Final

# In the order in which a project needs them.
_GROUPS: Final = {
    "begin": ("init", "scan"),
    "look at interventions": ("list", "show"),
    "read reports": ("report", "compare"),
    "plan": ("power",),
}
_MORE: Final = "more"
_EXAMPLES: Final = (
    "biastransfer init --model='checkpoint:pets.pt?arch=torchvision:resnet18' --data=imagefolder:data/val",
    "biastransfer scan",
    "biastransfer show yellow-square --image=cat.png",
    "biastransfer compare main.json branch.json --fail-on-regression",
)
_WIDEST: Final = 100
_COMPLETING: Final = "_ARGCOMPLETE"


class _Formatter(argparse.HelpFormatter):
    """Breaks paragraphs at words, and leaves indented lines as they are."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        paragraphs = text.split("\n\n")
        return "\n\n".join(
            textwrap.indent(paragraph, indent)
            if "\n  " in paragraph
            else textwrap.fill(paragraph, width, initial_indent=indent, subsequent_indent=indent)
            for paragraph in paragraphs
        )


class Commands:
    """The commands of the program, which `add_parser` adds as argparse has it, with examples at the end of its help.

    Attributes
    ----------
    parser
        The parser of the whole command line.
    parsers, summaries
        The parser of each command and the line about it, by its name.
    """

    def __init__(self, program: str, description: str) -> None:
        self._description = description
        # The list of commands is in groups below, so argparse shows none, and leaves the command out of the usage.
        usage = f"{program} [-h] COMMAND ..."
        self.parser = argparse.ArgumentParser(prog=program, usage=usage, formatter_class=_Formatter)
        self._subparsers: Any = self.parser.add_subparsers(
            dest="command", required=True, metavar="COMMAND", help=argparse.SUPPRESS, prog=program
        )
        self.parsers: dict[str, argparse.ArgumentParser] = {}
        self.summaries: dict[str, str] = {}

    def add_parser(
        self, name: str, *, help: str, description: str = "", examples: Sequence[str] = ()
    ) -> argparse.ArgumentParser:
        """Add a command; `help` is one line about it, `examples` are command lines."""
        self.summaries[name] = help
        parser: argparse.ArgumentParser = self._subparsers.add_parser(
            name,
            description=description or f"{help[:1].upper()}{help[1:]}.",
            epilog=_examples_text(examples) if examples else None,
            formatter_class=_Formatter,
        )
        self.parsers[name] = parser
        return parser

    def finished(self) -> argparse.ArgumentParser:
        """Return the parser, whose help shows all commands in groups."""
        grouped = {name for names in _GROUPS.values() for name in names}
        groups = {**_GROUPS, _MORE: tuple(name for name in self.summaries if name not in grouped)}
        present = {title: [name for name in names if name in self.summaries] for title, names in groups.items()}
        texts = [self._group_text(title, names) for title, names in present.items() if names]
        self.parser.description = self._description
        self.parser.epilog = "\n\n".join(
            [*texts, _examples_text(_EXAMPLES), "Each command has examples of its own: biastransfer scan --help"]
        )
        return self.parser

    def _group_text(self, title: str, names: Sequence[str]) -> str:
        column = max(map(len, self.summaries)) + 4
        width = max(min(shutil.get_terminal_size().columns, _WIDEST) - 2, column + 20)
        lines = [
            textwrap.fill(
                self.summaries[name], width, initial_indent=f"  {name:{column - 2}}", subsequent_indent=" " * column
            )
            for name in names
        ]
        return "\n".join([f"{title}:", *lines])


def _examples_text(examples: Sequence[str]) -> str:
    return "\n".join(["examples:", *(f"  {example}" for example in examples)])


def complete(parser: argparse.ArgumentParser) -> None:
    """Answer a shell that asks how a command line can go on, if argcomplete is installed; else return."""
    if _COMPLETING not in os.environ:
        return
    try:
        import argcomplete
    except ModuleNotFoundError:
        return
    argcomplete.autocomplete(parser)
