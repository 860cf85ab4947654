"""The command ``biastransfer``, from its parsers."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from docs.tables.markup import code, table
from pytest_biastransfer.__main__ import _COMMANDS


def commands() -> str:
    """Return a section for each subcommand: its purpose and a table of its arguments."""
    parser = argparse.ArgumentParser(prog="biastransfer")
    subparsers = parser.add_subparsers()
    for command in _COMMANDS:
        command.add_command(subparsers)
    purposes = {action.dest: action.help or "" for action in subparsers._choices_actions}
    sections = (_section(name, purposes[name], own) for name, own in subparsers.choices.items())
    return "\n".join(sections)


def _section(name: str, purpose: str, parser: argparse.ArgumentParser) -> str:
    rows = list(_rows(parser))
    arguments = f"\n{table(['argument', 'meaning'], rows)}" if rows else ""
    return f"## {name}\n\n`biastransfer {name}`: {purpose}.\n{arguments}"


def _rows(parser: argparse.ArgumentParser) -> Iterator[tuple[str, str]]:
    for action in parser._actions:
        if isinstance(action, argparse._HelpAction) or action.help is argparse.SUPPRESS:
            continue
        text = (action.help or "") % {"default": action.default}
        yield code(_typed(action)), text


def _typed(action: argparse.Action) -> str:
    """Return how an argument is typed."""
    value = action.metavar or ("{" + ",".join(map(str, action.choices)) + "}" if action.choices else action.dest)
    if not action.option_strings:
        return f"{value} ..." if action.nargs in ("+", "*") else str(value)
    flags = ", ".join(action.option_strings)
    return flags if action.nargs == 0 else f"{flags} {value}"
