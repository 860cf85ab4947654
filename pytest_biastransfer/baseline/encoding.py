"""Sets of images and their classes as short text: the same text on every machine, without a library's compression.

Images are told by the gaps between them, in the code of Rice (1979): a gap that is a usual one takes as few bits
as its size has on average. A tenth of all images takes half a bit for each image of the dataset.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Indices = Sequence[int] | npt.NDArray[np.int64]


def encode_images(indices: Indices) -> str:
    """Return ascending indices in a dataset as text.

    >>> encode_images([3, 4, 10])
    '3.1.poA='
    """
    import numpy as np

    images = np.asarray(indices, dtype=np.int64)
    gaps = images.copy()
    gaps[1:] -= images[:-1] + 1
    low = max(0, (int(gaps.sum()) // max(1, len(gaps))).bit_length() - 1)
    # The code of a gap: its upper bits as so many ones and a zero, then its `low` lower bits.
    ends = np.cumsum((gaps >> low) + 1 + low)
    bits = np.ones(ends[-1] if len(ends) else 0, dtype=np.uint8)
    for bit in range(low):
        bits[ends - 1 - bit] = gaps >> bit & 1
    bits[ends - 1 - low] = 0
    return f"{len(gaps)}.{low}.{base64.b64encode(np.packbits(bits).tobytes()).decode()}"


def decode_images(text: str) -> list[int]:
    """Return the indices that `encode_images` encoded; raises ValueError for text that it cannot have made."""
    parts = _parts(text, 3)
    count, low = int(parts[0]), int(parts[1])
    indices, last = [], -1
    for gap in _gaps(_bits_of(parts[2]), count, low):
        last += gap + 1
        indices.append(last)
    return indices


def encode_groups(groups: Sequence[tuple[int, Indices]]) -> str:
    """Return groups as text: the size of each, and the ascending indices of those of its images that count.

    >>> encode_groups([(50, [3, 4, 10]), (40, [])])
    '50:3.1.poA=;40:0.0.'
    """
    return ";".join(f"{size}:{encode_images(indices)}" for size, indices in groups)


def decode_groups(text: str) -> list[tuple[int, list[int]]]:
    """Return the groups that `encode_groups` encoded; raises ValueError for text that it cannot have made."""
    groups = []
    for part in text.split(";"):
        size, colon, indices = part.partition(":")
        if not colon or not size.isdecimal():
            raise ValueError(f"expected a group as size:images, found {part!r:.60}")
        groups.append((int(size), decode_images(indices)))
    return groups


def encode_numbers(numbers: Sequence[float]) -> str:
    """Return numbers as text that gives the same numbers again.

    >>> encode_numbers([0.1, 2.0])
    '0.1 2.0'
    """
    return " ".join(repr(float(number)) for number in numbers)


def decode_numbers(text: str, count: int) -> list[float]:
    """Return the `count` numbers that `encode_numbers` encoded; raises ValueError for another text."""
    numbers = [float(part) for part in text.split()]
    if len(numbers) != count:
        raise ValueError(f"expected {count} numbers, found {text!r:.60}")
    return numbers


def encode_classes(classes: Sequence[int]) -> str:
    """Return numbers of classes as text.

    >>> encode_classes([3, 0, 9])
    '4.MJA='
    """
    width = max(classes, default=0).bit_length()
    return f"{width}.{_text_of(''.join(f'{number:0{width}b}' for number in classes) if width else '')}"


def decode_classes(text: str, count: int) -> list[int]:
    """Return the `count` numbers that `encode_classes` encoded; raises ValueError for text that it cannot have made."""
    parts = _parts(text, 2)
    width, bits = int(parts[0]), _bits_of(parts[1])
    if len(bits) < width * count:
        raise ValueError(f"its last bits are missing: {len(bits)} are too few for {count} classes")
    return [int(bits[start : start + width], 2) if width else 0 for start in range(0, (width or 1) * count, width or 1)]


def _gaps(bits: str, count: int, low: int) -> Iterator[int]:
    start = 0
    for _ in range(count):
        end = bits.find("0", start)
        if end < 0 or end + low >= len(bits):
            raise ValueError("its last bits are missing")
        yield (end - start << low) + (int(bits[end + 1 : end + 1 + low], 2) if low else 0)
        start = end + 1 + low


def _text_of(bits: str) -> str:
    count = -(-len(bits) // 8)
    return base64.b64encode(int(bits.ljust(8 * count, "0") or "0", 2).to_bytes(count)).decode()


def _bits_of(text: str) -> str:
    try:
        raw = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(f"not base64 ({error})") from error
    return f"{int.from_bytes(raw):0{8 * len(raw)}b}" if raw else ""


def _parts(text: str, count: int) -> list[str]:
    parts = text.split(".")
    if len(parts) != count or not all(re.fullmatch("[0-9]{1,9}", number) for number in parts[:-1]):
        raise ValueError(f"{text[:20]!r} has not the form of numbers and base64")
    return parts
