"""The outcomes of a bias test, the worst first."""

from __future__ import annotations

from typing import Final, Literal, get_args

# pytest's outcomes, and `lost`: the process that ran the test ended before the test did.
Outcome = Literal["failed", "error", "lost", "xpassed", "passed", "xfailed", "skipped"]

SEVERITY: Final[tuple[Outcome, ...]] = get_args(Outcome)
# Outcomes that demand action: with any of them the session fails.
FAILED: Final[tuple[Outcome, ...]] = ("failed", "error", "lost")
