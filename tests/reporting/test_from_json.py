"""Plain data of JSON becomes the dataclasses that wrote it, and anything else is refused with a reason."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from pytest_biastransfer.reporting.figures import Interval, Limit
from pytest_biastransfer.reporting.from_json import from_plain

INTERVAL = Interval(0.5, 0.4, 0.6, 0.95, 100)
LIMIT = Limit("asr", 0.05, "point", None, "", INTERVAL, None, remarks=["worst night"])


@pytest.mark.parametrize("written", [LIMIT, dataclasses.replace(LIMIT, holds=True, control=INTERVAL)])
def test_what_was_written_is_read_back(written: Limit) -> None:
    assert from_plain(Limit, json.loads(json.dumps(dataclasses.asdict(written)))) == written


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"metric": 1}, "expected a string, found 1"),
        ({"limit": "0.05"}, "expected a number, found '0.05'"),
        ({"limit": True}, "expected a number, found True"),
        ({"limit": None}, "expected a number, found None"),
        ({"holds": 1}, "expected true or false, found 1"),
        ({"observed": [0.5]}, "expected Interval, found [0.5]"),
        ({"observed": dataclasses.asdict(INTERVAL) | {"n": 0.5}}, "expected a whole number, found 0.5"),
        ({"observed": dataclasses.asdict(INTERVAL) | {"n": False}}, "expected a whole number, found False"),
        ({"unknown": 1}, "'unknown'"),
    ],
)
def test_anything_else_is_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises((TypeError, KeyError)) as error:
        from_plain(Limit, dataclasses.asdict(LIMIT) | changed)
    assert str(error.value) == message
