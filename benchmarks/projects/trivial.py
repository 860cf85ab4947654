"""The least that a pytest session can do."""

from __future__ import annotations


def test_trivial() -> None:
    """Do nothing."""
