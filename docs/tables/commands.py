"""The command ``biastransfer``, from its parsers."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Iterator

from docs.tables.markup import code, table
from pytest_biastransfer.__main__ import _COMMANDS
from pytest_biastransfer.cli.command_help import Commands


def commands() -> str:
    """Return a section for each subcommand: its purpose and a table of its arguments."""
    added = Commands("biastransfer", "")
    for command in _COMMANDS:
        command.add_command(added)
    return "\n".join(_section(name, added.summaries[name], parser) for name, parser in added.parsers.items())


def _section(name: str, purpose: str, parser: argparse.ArgumentParser) -> str:
    rows = list(_rows(parser))
    arguments = f"\n{table(['argument', 'meaning'], rows)}" if rows else ""
    examples = (parser.epilog or "").removeprefix("examples:\n")
    block = f"\n```text\n{textwrap.dedent(examples)}\n```\n" if examples else ""
    return f"## {name}\n\n`biastransfer {name}`: {purpose}.\n{block}{arguments}"


def _rows(parser: argparse.ArgumentParser) -> Iterator[tuple[str, str]]:
    for action in parser._actions:
        if isinstance(action, argparse._HelpAction) or action.help is argparse.SUPPRESS:
            continue
        text = (action.help or "") % {"default": action.default}
        yield code(_typed(action)), text


def _typed(action: argparse.Action) -> str:
    """Return how an argument is typed."""
    name = action.dest.upper() if action.option_strings else action.dest
    value = action.metavar or ("{" + ",".join(map(str, action.choices)) + "}" if action.choices else name)
    if not action.option_strings:
        return f"{value} ..." if action.nargs in ("+", "*") else str(value)
    flags = ", ".join(action.option_strings)
    return flags if action.nargs == 0 else f"{flags} {value}"
