"""Long names in little room."""

from __future__ import annotations


def shortened(text: str, most: int) -> str:
    """Return a text of at most so many characters: what tells names apart is often their end.

    >>> shortened("test_nothing[yellow-square]", 16)
    'test_…ow-square]'
    """
    if len(text) <= most:
        return text
    start = most // 3
    return f"{text[:start]}…{text[len(text) - (most - 1 - start) :]}"
