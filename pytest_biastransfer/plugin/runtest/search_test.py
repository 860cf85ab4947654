"""What happens to one search test: the search is run, and what it found is drawn."""

from __future__ import annotations

import dataclasses
import re
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

import hypothesis

from pytest_biastransfer.errors import BiasTransferError, StoreWarning
from pytest_biastransfer.fingerprints import fingerprint
from pytest_biastransfer.plugin.resources import session_store
from pytest_biastransfer.plugin.runtest.baseline_comparison import key_of
from pytest_biastransfer.plugin.runtest.bias_test import evaluator_of
from pytest_biastransfer.search.bias_search import Search, SearchResult

_NAME_LETTERS: Final = 60

if TYPE_CHECKING:
    import pytest
    from PIL import Image

    from pytest_biastransfer.data import LabelledImages
    from pytest_biastransfer.judgement.cases import SearchCase
    from pytest_biastransfer.models import Model


def searched(
    request: pytest.FixtureRequest, case: SearchCase, model: Model, images: LabelledImages, control: Model | None
) -> SearchResult:
    """Search for what a test's marker declares; what is found is kept in Hypothesis' database."""
    search = Search(evaluator_of(request, case.images), evaluator_of(request), model, images, control, case)
    # The id tells apart what several markers of one test search.
    key = "|".join(("biastransfer", key_of(request.node, case).test, request.node.callspec.id))
    found = search.run(hypothesis.settings().database, key.encode())
    if float(found.measurement.estimate(case.metric)) <= case.limit:
        return found
    directory = session_store(request.config).directory
    name = f"{key}|{found.trial.intervention}"
    return dataclasses.replace(found, picture=_saved(lambda: search.picture(found), directory, name))


def _saved(draw: Callable[[], Image.Image], directory: Path | None, key: str) -> Path | None:
    """Save a picture among what is kept, or in a temporary place where nothing is, and return where it is.

    None where it cannot be drawn or saved: the verdict does not need it.
    """
    name = re.sub(r"[^0-9A-Za-z]+", "-", key.rpartition("::")[2].partition("|")[0]).strip("-")[:_NAME_LETTERS]
    try:
        place = Path(tempfile.mkdtemp(prefix="biastransfer-")) if directory is None else directory / "triggers"
        place.mkdir(parents=True, exist_ok=True)
        path = place / f"{name}-{fingerprint(key)[:8]}.png"
        draw().save(path)
    except (BiasTransferError, OSError) as error:
        warnings.warn(f"no picture of what was found: {error}", StoreWarning, stacklevel=2)
        return None
    return path
