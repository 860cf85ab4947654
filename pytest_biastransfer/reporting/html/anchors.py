"""Addresses of tests within a page: made of their names, so that a link stays valid when tests are added."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from typing import Final
from urllib.parse import quote

_PREFIX: Final = "test="
# What a fragment of a URL holds as it is, and what names of tests have.
_SAFE: Final = "/:[]=+,@!~*()$;"
# Longer names are cut, and told apart by a hash.
_MOST: Final = 200
_HASH: Final = 12


def anchor(name: str) -> str:
    """Return the fragment of a test's address, which is the id of its section, too.

    The id is percent-encoded like the address: browsers look for it as it stands in the address first.

    >>> anchor("tests/test_pets.py::test_bias[yellow-square]")
    'test=tests/test_pets.py::test_bias[yellow-square]'
    >>> anchor("test_pets.py::test_bias[größer als]")
    'test=test_pets.py::test_bias[gr%C3%B6%C3%9Fer%20als]'
    """
    # File names may hold lone surrogates, which UTF-8 cannot encode.
    encoded = quote(name, safe=_SAFE, errors="backslashreplace")
    if len(encoded) > _MOST:
        digest = hashlib.sha256(name.encode(errors="backslashreplace")).hexdigest()[:_HASH]
        encoded = f"{encoded[: _MOST - _HASH - 1].rpartition('%')[0] or encoded[: _MOST - _HASH - 1]}~{digest}"
    return _PREFIX + encoded


def anchors(names: Sequence[str]) -> Sequence[str]:
    """Return an address for each of the tests of a page; those of equal names are numbered.

    >>> anchors(["test_a.py::test_a", "test_a.py::test_a"])
    ['test=test_a.py::test_a', 'test=test_a.py::test_a~2']
    """
    counts: Counter[str] = Counter()
    addresses = []
    for name in names:
        address = anchor(name)
        counts[address] += 1
        addresses.append(address if counts[address] == 1 else f"{address}~{counts[address]}")
    return addresses
