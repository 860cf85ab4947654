"""What can become of a bias test, the worst first."""

from __future__ import annotations

from typing import Final, Literal, get_args

# pytest's words, and one of ours: a lost test is one that no process brought to its end.
Outcome = Literal["failed", "error", "lost", "xpassed", "passed", "xfailed", "skipped"]

SEVERITY: Final[tuple[Outcome, ...]] = get_args(Outcome)
# What asks for action.
FAILED: Final[tuple[Outcome, ...]] = ("failed", "error", "lost")
