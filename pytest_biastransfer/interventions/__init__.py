"""Interventions: declared, deterministic changes of images.

Importing this package imports neither torch nor numpy; applying an intervention does.
"""

from pytest_biastransfer.interventions.appearance import Brightness, ColorCast, Contrast, Grayscale, Saturation, Tint
from pytest_biastransfer.interventions.base import Composition, Intervention
from pytest_biastransfer.interventions.batch_info import BatchInfo
from pytest_biastransfer.interventions.custom import Custom
from pytest_biastransfer.interventions.degradations import JPEG, Blur, Border, Pixelate, Vignette
from pytest_biastransfer.interventions.ladders import Ladder, ladder
from pytest_biastransfer.interventions.patterns import GaussianPattern, Noise, Pattern, Stripes
from pytest_biastransfer.interventions.pictures import Stencil, Text
from pytest_biastransfer.interventions.randomized import OneOf, Random, Sometimes
from pytest_biastransfer.interventions.regions import Background, Occlude
from pytest_biastransfer.interventions.registry import BUILT_IN, Registry, as_intervention
from pytest_biastransfer.interventions.severities import severities
from pytest_biastransfer.interventions.shapes import (
    Checkerboard,
    Circle,
    LineGrid,
    Rectangle,
    Ring,
    Square,
    Triangle,
)

__all__ = [
    "BUILT_IN",
    "JPEG",
    "Background",
    "BatchInfo",
    "Blur",
    "Border",
    "Brightness",
    "Checkerboard",
    "Circle",
    "ColorCast",
    "Composition",
    "Contrast",
    "Custom",
    "GaussianPattern",
    "Grayscale",
    "Intervention",
    "Ladder",
    "LineGrid",
    "Noise",
    "Occlude",
    "OneOf",
    "Pattern",
    "Pixelate",
    "Random",
    "Rectangle",
    "Registry",
    "Ring",
    "Saturation",
    "Sometimes",
    "Square",
    "Stencil",
    "Stripes",
    "Text",
    "Tint",
    "Triangle",
    "Vignette",
    "as_intervention",
    "ladder",
    "severities",
]
