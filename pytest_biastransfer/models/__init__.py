"""Models: a torch module with its preprocessing and class names, from fixtures or spec strings."""

from pytest_biastransfer.models.loading import as_model
from pytest_biastransfer.models.model import Model
from pytest_biastransfer.models.preprocess import Preprocess

__all__ = ["Model", "Preprocess", "as_model"]
