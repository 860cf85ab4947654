"""Regression tests for the biases that a fine-tuned vision model inherited from its source.

Importing this package imports neither torch nor numpy: the names below are resolved when first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from pytest_biastransfer._version import __version__ as __version__

if TYPE_CHECKING:
    from pytest_biastransfer.data import load_dataset as load_dataset
    from pytest_biastransfer.errors import BiasTransferError as BiasTransferError
    from pytest_biastransfer.evaluation.pool_executor import PoolExecutor as PoolExecutor
    from pytest_biastransfer.interventions import JPEG as JPEG
    from pytest_biastransfer.interventions import Background as Background
    from pytest_biastransfer.interventions import Blur as Blur
    from pytest_biastransfer.interventions import Border as Border
    from pytest_biastransfer.interventions import Brightness as Brightness
    from pytest_biastransfer.interventions import Checkerboard as Checkerboard
    from pytest_biastransfer.interventions import Circle as Circle
    from pytest_biastransfer.interventions import ColorCast as ColorCast
    from pytest_biastransfer.interventions import Composition as Composition
    from pytest_biastransfer.interventions import Contrast as Contrast
    from pytest_biastransfer.interventions import Custom as Custom
    from pytest_biastransfer.interventions import GaussianPattern as GaussianPattern
    from pytest_biastransfer.interventions import Grayscale as Grayscale
    from pytest_biastransfer.interventions import Intervention as Intervention
    from pytest_biastransfer.interventions import LineGrid as LineGrid
    from pytest_biastransfer.interventions import Noise as Noise
    from pytest_biastransfer.interventions import Occlude as Occlude
    from pytest_biastransfer.interventions import OneOf as OneOf
    from pytest_biastransfer.interventions import Pattern as Pattern
    from pytest_biastransfer.interventions import Pixelate as Pixelate
    from pytest_biastransfer.interventions import Random as Random
    from pytest_biastransfer.interventions import Rectangle as Rectangle
    from pytest_biastransfer.interventions import Ring as Ring
    from pytest_biastransfer.interventions import Saturation as Saturation
    from pytest_biastransfer.interventions import Sometimes as Sometimes
    from pytest_biastransfer.interventions import Square as Square
    from pytest_biastransfer.interventions import Stencil as Stencil
    from pytest_biastransfer.interventions import Stripes as Stripes
    from pytest_biastransfer.interventions import Text as Text
    from pytest_biastransfer.interventions import Tint as Tint
    from pytest_biastransfer.interventions import Triangle as Triangle
    from pytest_biastransfer.interventions import Vignette as Vignette
    from pytest_biastransfer.interventions import ladder as ladder
    from pytest_biastransfer.interventions import severities as severities
    from pytest_biastransfer.judgement.expectation import each as each
    from pytest_biastransfer.judgement.gap import Gap as Gap
    from pytest_biastransfer.measurement.measure import measure as measure
    from pytest_biastransfer.measurement.measure_gaps import measure_gaps as measure_gaps
    from pytest_biastransfer.measurement.measure_ladder import measure_ladder as measure_ladder
    from pytest_biastransfer.metrics.gap_measurement import GapMeasurement as GapMeasurement
    from pytest_biastransfer.metrics.ladder_measurement import LadderMeasurement as LadderMeasurement
    from pytest_biastransfer.metrics.measurement import Measurement as Measurement
    from pytest_biastransfer.metrics.statistics.estimate import Estimate as Estimate
    from pytest_biastransfer.models import Model as Model
    from pytest_biastransfer.models import Preprocess as Preprocess
    from pytest_biastransfer.models.loading import load_model as load_model
    from pytest_biastransfer.picture_files import allow_picture_formats as allow_picture_formats
    from pytest_biastransfer.search.ranking import Ranking as Ranking
    from pytest_biastransfer.search.scan_named import scan as scan
    from pytest_biastransfer.search.search_result import SearchResult as SearchResult
    from pytest_biastransfer.search.search_worst import search_worst as search_worst

# Where each public name lives.
_HOMES = {
    "Background": "interventions",
    "BiasTransferError": "errors",
    "Blur": "interventions",
    "Border": "interventions",
    "Brightness": "interventions",
    "Checkerboard": "interventions",
    "Circle": "interventions",
    "ColorCast": "interventions",
    "Composition": "interventions",
    "Contrast": "interventions",
    "Custom": "interventions",
    "Estimate": "metrics.statistics.estimate",
    "Gap": "judgement.gap",
    "GapMeasurement": "metrics.gap_measurement",
    "GaussianPattern": "interventions",
    "Grayscale": "interventions",
    "Intervention": "interventions",
    "JPEG": "interventions",
    "LadderMeasurement": "metrics.ladder_measurement",
    "LineGrid": "interventions",
    "Measurement": "metrics.measurement",
    "Model": "models",
    "Noise": "interventions",
    "Occlude": "interventions",
    "OneOf": "interventions",
    "Pattern": "interventions",
    "Pixelate": "interventions",
    "PoolExecutor": "evaluation.pool_executor",
    "Preprocess": "models",
    "Random": "interventions",
    "Ranking": "search.ranking",
    "Rectangle": "interventions",
    "Ring": "interventions",
    "Saturation": "interventions",
    "Sometimes": "interventions",
    "SearchResult": "search.search_result",
    "Square": "interventions",
    "Stencil": "interventions",
    "Stripes": "interventions",
    "Text": "interventions",
    "Tint": "interventions",
    "Triangle": "interventions",
    "Vignette": "interventions",
    "allow_picture_formats": "picture_files",
    "each": "judgement.expectation",
    "ladder": "interventions",
    "load_dataset": "data",
    "load_model": "models.loading",
    "measure": "measurement.measure",
    "measure_gaps": "measurement.measure_gaps",
    "measure_ladder": "measurement.measure_ladder",
    "scan": "search.scan_named",
    "search_worst": "search.search_worst",
    "severities": "interventions",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
