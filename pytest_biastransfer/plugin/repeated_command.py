"""The command that runs some tests again as this session ran them, without writing its reports again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from pytest_biastransfer.plain_text import NAMED, command_line

if TYPE_CHECKING:
    import pytest

# Options that decide how a test runs, and that it is not deselected by the ini file. Whether their value may be the
# next word.
KEPT: Final[Mapping[str, bool]] = {
    # How pytest finds its configuration and the tests' code.
    "-c": True,
    "--config-file": True,
    "--rootdir": True,
    "--confcutdir": True,
    "--noconftest": False,
    "--import-mode": True,
    "--pyargs": False,
    "-o": True,
    "--override-ini": True,
    "-W": True,
    "--pythonwarnings": True,
    "--strict": False,
    "--strict-config": False,
    "--strict-markers": False,
    "--runxfail": False,
    "-p": True,
    # Which tests run: the ini file may deselect others.
    "-k": True,
    "-m": True,
    "--deselect": True,
    "--ignore": True,
    "--ignore-glob": True,
    "--bias-only": False,
    # Where they run.
    "-n": True,
    "--numprocesses": True,
    "--maxprocesses": True,
    "--dist": True,
    "--tx": True,
    # What is measured, and what it is compared with.
    "--bias-device": True,
    "--bias-batch-size": True,
    "--bias-max-images": True,
    "--bias-store": True,
    "--bias-workers-per-gpu": True,
    "--bias-baseline": True,
    "--bias-compare": True,
    "--bias-images": True,
    "--bias-saliency": False,
    "--bias-verify": True,
    "--bias-executor": True,
    "--bias-early-stop": False,
}
# Options that write files: fewer tests would replace the results of all.
WRITING: Final[Mapping[str, bool]] = {
    "--bias-report": True,
    "--bias-update": True,
    "--bias-prune": False,
    "--junitxml": True,
    "--junit-xml": True,
    "--junitprefix": True,
    "--junit-prefix": True,
    "--report-log": True,
    "--log-file": True,
    "--log-file-mode": True,
    "--log-file-level": True,
    "--pastebin": True,
    "--debug": False,
    "--basetemp": True,
    "--html": True,
    "--css": True,
    "--self-contained-html": False,
    "--alluredir": True,
    "--clean-alluredir": False,
    "--json-report": False,
    "--json-report-file": True,
    "--cov": False,
    "--cov-report": True,
    "--cov-config": True,
}
# Options that select tests by what earlier sessions left, clear that, or stop early.
SELECTING: Final[Mapping[str, bool]] = {
    "--cache-clear": False,
    "--cache-show": False,
    "--lf": False,
    "--last-failed": False,
    "--lfnf": True,
    "--last-failed-no-failures": True,
    "--ff": False,
    "--failed-first": False,
    "--nf": False,
    "--new-first": False,
    "--sw": False,
    "--stepwise": False,
    "--sw-skip": False,
    "--stepwise-skip": False,
    "--sw-reset": False,
    "--stepwise-reset": False,
    "-x": False,
    "--exitfirst": False,
    "--maxfail": True,
    "-f": False,
    "--looponfail": False,
    "--collect-only": False,
    "--co": False,
}
# Options that say how much is shown.
SHOWING: Final[Mapping[str, bool]] = {
    "--durations": True,
    "--durations-min": True,
    "--tb": True,
    "--color": True,
    "--code-highlight": True,
    "--verbosity": True,
    "--verbose": False,
    "--quiet": False,
    "--showlocals": False,
    "--no-header": False,
    "--no-summary": False,
    "--capture": True,
    "--show-capture": True,
    "-r": True,
}
_VALUES: Final = {**KEPT, **WRITING, **SELECTING, **SHOWING}
# Those of KEPT that say which processes run the tests, and the plugins that make them.
_WORKERS: Final = ("-n", "--numprocesses", "--maxprocesses", "--dist", "--tx")
_XDIST: Final = ("xdist", "no:xdist", "xdist.plugin", "xdist.looponfail")
# Without the cache, `--lf` selects nothing.
_NO_CACHE: Final = "no:cacheprovider"


def command_of(config: pytest.Config, tests: Sequence[str], *options: str) -> str:
    """Return a command that runs exactly the named tests as this session ran them; empty if that cannot be typed.

    Up to `NAMED` tests are named. More are those that failed last, which pytest's cache knows: then `tests` have to be
    all that failed.
    """
    repeated = list(_repeated(config, [WRITING, SELECTING, SHOWING]))
    # Of a report in the ini file, fewer tests would replace the results of all.
    is_written = config.getini("bias_report") and not any(option.startswith("--bias-report") for option in options)
    without_report = ["-o", "bias_report="] if is_written else []
    if len(tests) <= NAMED:
        return command_line(["pytest", *_options(repeated), *without_report, *options, *tests])
    if not config.pluginmanager.hasplugin("lfplugin"):
        return ""
    return command_line(["pytest", *(word for _, word in repeated), *without_report, *options, "--lf"])


def session_words(config: pytest.Config) -> list[str]:
    """Return the words of this session's command line, without the options that write files."""
    return ["pytest", *(word for _, word in _repeated(config, [WRITING, SHOWING]))]


def _options(repeated: Sequence[tuple[str, str]]) -> list[str]:
    # A name says more than an expression, and a few tests need no workers. So the command of a test is the same however
    # a session was run. Marks stay: the ini file may deselect those that the command line selects.
    return [word for kind, word in repeated if kind == "option"]


def _repeated(config: pytest.Config, dropped: Sequence[Mapping[str, bool]]) -> Iterator[tuple[str, str]]:
    """Yield the words that are typed again, as a ``path``, a ``selection``, of ``workers`` or an ``option``."""
    typed = iter([str(word) for word in config.invocation_params.args])
    paths = set(map(str, config.args))
    was_dropped = False
    for word in typed:
        if not word.startswith("-"):
            if word in paths:
                yield "path", word
            # What is no path is the value of the option before it.
            elif not was_dropped:
                yield "option", word
            continue
        name, value = _split(word)
        takes_next = value is None and _VALUES.get(name, False)
        value = next(typed, None) if takes_next else value
        was_dropped = any(name in options for options in dropped)
        was_dropped = was_dropped or (name == "-p" and value == _NO_CACHE) or _is_flags(word)
        if was_dropped:
            continue
        kind = _kind(name, value)
        yield kind, word
        if takes_next and value is not None:
            yield kind, value


def _kind(name: str, value: str | None) -> str:
    if name == "-k":
        return "selection"
    return "workers" if name in _WORKERS or (name == "-p" and value in _XDIST) else "option"


def _split(word: str) -> tuple[str, str | None]:
    """Return the name of an option and its value, where both are in one word.

    >>> _split("-n2"), _split("--dist=load"), _split("-k")
    (('-n', '2'), ('--dist', 'load'), ('-k', None))
    """
    if word.startswith("--"):
        name, equals, value = word.partition("=")
        return name, value if equals else None
    return word[:2], word[2:] or None


def _is_flags(word: str) -> bool:
    """Whether a word is of short options without a value, about output or an early end.

    >>> _is_flags("-vv"), _is_flags("-xq"), _is_flags("-n2")
    (True, True, False)
    """
    return not word.startswith("--") and set(word[1:]) <= set("vqslx")
