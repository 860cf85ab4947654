"""What is done to images: declared, deterministic changes.

Importing this package needs neither torch nor numpy; applying an intervention does.
"""

from pytest_biastransfer.interventions.appearance import Brightness, ColorCast, Contrast, Grayscale, Saturation, Tint
from pytest_biastransfer.interventions.base import Composition, Intervention
from pytest_biastransfer.interventions.custom import Custom
from pytest_biastransfer.interventions.degradations import JPEG, Blur, Border, Pixelate, Vignette
from pytest_biastransfer.interventions.patterns import GaussianPattern, Noise, Stripes
from pytest_biastransfer.interventions.registry import described, named, names
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
    "JPEG",
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
    "LineGrid",
    "Noise",
    "Pixelate",
    "Rectangle",
    "Ring",
    "Saturation",
    "Square",
    "Stripes",
    "Tint",
    "Triangle",
    "Vignette",
    "described",
    "named",
    "names",
]
