"""Objects of classes that are the user's, and their fingerprints."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from pytest_biastransfer.fingerprints import NotFingerprintableError, fingerprint

REFUSALS = itertools.count()


def fingerprint_or_refusal(value: object) -> str:
    """Return the fingerprint, or something unequal to any other where there is none."""
    try:
        return fingerprint(value)
    except NotFingerprintableError:
        return f"refused {next(REFUSALS)}"


@dataclass
class Settings:
    size: int
    names: list[str]


class Slotted:
    __slots__ = ("content", "unset")

    def __init__(self, content: object) -> None:
        self.content = content

    def describe(self) -> str:
        return f"{self.content}"

    def display(self) -> None:
        self.content = self.describe()


class Linked:
    """An object that knows itself and its neighbour."""

    def __init__(self, content: object) -> None:
        self.content = content
        self.me = self
        self.neighbour: Linked | None = None


class Multiplier:
    def __init__(self, factor: float) -> None:
        self.factor = factor

    def multiply(self, value: float) -> float:
        return value * self.factor
