"""What happens to one search test: the search is run, and what it found is drawn."""

from __future__ import annotations

import dataclasses
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import hypothesis

from pytest_biastransfer.comparing import key_of
from pytest_biastransfer.fingerprints import fingerprint
from pytest_biastransfer.given import session_store
from pytest_biastransfer.runtest import evaluator_of
from pytest_biastransfer.searching import Search, Searched

_NAME_LETTERS: Final = 60

if TYPE_CHECKING:
    import pytest
    from PIL import Image

    from pytest_biastransfer.cases import SearchCase
    from pytest_biastransfer.data import LabelledImages
    from pytest_biastransfer.models import Model


def searched(
    request: pytest.FixtureRequest, case: SearchCase, model: Model, images: LabelledImages, control: Model | None
) -> Searched:
    """Search for what a test's marker declares; what is found is kept in Hypothesis' database."""
    search = Search(evaluator_of(request, case.images), evaluator_of(request), model, images, control, case)
    key = "|".join(("biastransfer", *key_of(request.node, case)))
    found = search.run(hypothesis.settings().database, key.encode())
    if float(found.measurement.estimate(case.metric)) <= case.limit:
        return found
    directory = session_store(request.config).directory
    return dataclasses.replace(found, picture=_saved(search.picture(found), directory, key))


def _saved(picture: Image.Image, directory: Path | None, key: str) -> Path:
    """Save a picture among what is kept, or in a temporary place where nothing is, and return where it is."""
    place = Path(tempfile.mkdtemp(prefix="biastransfer-")) if directory is None else directory / "triggers"
    place.mkdir(parents=True, exist_ok=True)
    name = re.sub(r"[^0-9A-Za-z]+", "-", key.rpartition("::")[2]).strip("-")[:_NAME_LETTERS]
    path = place / f"{name}-{fingerprint(key)[:6]}.png"
    picture.save(path)
    return path
