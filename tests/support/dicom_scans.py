"""Small DICOM files for the tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

STORED = np.array([[0, 24, 1024, 1064], [1100, 1424, 2000, 4095]], np.uint16)


def scan(values: npt.NDArray[Any] = STORED, **elements: Any) -> Any:
    """Return a CT slice with values in Hounsfield units, 1,024 below what is stored; elements of None are left out."""
    import pydicom

    file = pydicom.Dataset()
    file.file_meta = pydicom.dataset.FileMetaDataset()
    file.file_meta.TransferSyntaxUID = elements.pop("syntax", pydicom.uid.ExplicitVRLittleEndian)
    file.SOPClassUID, file.SOPInstanceUID = pydicom.uid.CTImageStorage, "1.2.3"
    file.Rows, file.Columns = values.shape[:2]
    bits = values.dtype.itemsize * 8
    defaults = {
        "SamplesPerPixel": 1 if values.ndim == 2 else values.shape[2],
        "PhotometricInterpretation": "MONOCHROME2" if values.ndim == 2 else "RGB",
        "BitsAllocated": bits, "BitsStored": bits, "HighBit": bits - 1, "PixelRepresentation": 0,
        "RescaleSlope": 1, "RescaleIntercept": -1024,
        "PlanarConfiguration": None if values.ndim == 2 else 0,
        "PixelData": values.tobytes(),
    }  # fmt: skip
    for name, value in {**defaults, **elements}.items():
        if value is not None:
            setattr(file, name, value)
    return file


def write(path: Path, file: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    file.save_as(path, enforce_file_format=True)
    return path
