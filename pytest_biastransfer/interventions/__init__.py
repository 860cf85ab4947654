"""What is done to images: declared, deterministic changes.

Importing this package needs neither torch nor numpy; applying an intervention does.
"""

from pytest_biastransfer.interventions.appearance import Blur, Grayscale, Tint
from pytest_biastransfer.interventions.base import Composition, Intervention
from pytest_biastransfer.interventions.custom import Custom
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
    "Blur",
    "Checkerboard",
    "Circle",
    "Composition",
    "Custom",
    "Grayscale",
    "Intervention",
    "LineGrid",
    "Rectangle",
    "Ring",
    "Square",
    "Tint",
    "Triangle",
    "described",
    "named",
    "names",
]
