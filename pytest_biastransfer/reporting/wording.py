"""Wording that all reports share: counted nouns, and long names shortened."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """Return a number with its noun.

    >>> counted(1, "bias test"), counted(5000, "image")
    ('1 bias test', '5,000 images')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def shortened(text: str, most: int) -> str:
    """Return a text of at most `most` characters; the middle is cut, because names often differ at their end.

    >>> shortened("test_nothing[yellow-square]", 16)
    'test_…ow-square]'
    """
    if len(text) <= most:
        return text
    start = most // 3
    return f"{text[:start]}…{text[len(text) - (most - 1 - start) :]}"
