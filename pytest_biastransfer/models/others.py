"""Models of schemes that are not this package's."""

from __future__ import annotations

from collections.abc import Callable

from pytest_biastransfer.specs.spec import Spec

# Returns what a spec of somebody else's scheme names, or None if the scheme is not theirs.
Others = Callable[[Spec], object]


def nobody_else(spec: Spec) -> None:
    """Load nothing: there are no other schemes."""
