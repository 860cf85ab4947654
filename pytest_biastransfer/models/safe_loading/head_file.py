"""Reads the file of a linear head, and unpickles nothing.

It has a weight and a bias, and may have the standardisation of the features and the class names.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pytest_biastransfer.errors import ModelError, first_of
from pytest_biastransfer.models.safe_loading.state_files import read_state

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Arrays = Mapping[str, npt.NDArray[Any]]

_COEFFICIENTS: Final = "coef_"
_NAMES: Final = {
    "weight": ("weight", _COEFFICIENTS),
    "bias": ("bias", "intercept_"),
    "mean": ("mean_",),
    "scale": ("scale_",),
    "classes": ("classes_",),
}
# Attributes of scikit-learn's estimators that no prediction depends on.
_IGNORED: Final = frozenset({"C_", "n_features_in_", "n_iter_", "n_samples_seen_", "scores_", "var_"})
_EXPECTED: Final = (
    "expected weight [classes, features] and bias [classes], or scikit-learn's coef_ and intercept_; and mean_ and "
    "scale_ if a StandardScaler comes first"
)
# The largest heads, of 21,000 classes and 4,096 features, have a third of this in float32.
_MOST_BYTES: Final = 2**30
# MemoryError: a damaged header declares an array larger than the memory. RuntimeError: the archive is encrypted.
_DAMAGE: Final = (OSError, ValueError, EOFError, KeyError, MemoryError, RuntimeError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True)
class LinearHead:
    """A linear head as its file has it: logits are ``weight @ ((features - mean) / scale) + bias``.

    Attributes
    ----------
    weight, bias
        float64 [classes, features] and [classes].
    mean, scale
        float64 [features]; None where features are not centred or not scaled.
    classes
        The class names; None if the file has none.
    numbers
        The labels that stand for the classes, if they are numbers other than 0, 1, ..., as text; else None.
    """

    weight: Floats
    bias: Floats
    mean: Floats | None = None
    scale: Floats | None = None
    classes: tuple[str, ...] | None = None
    numbers: str | None = None


def read_head(path: Path, *, two_classes: bool = True) -> LinearHead:
    """Return the head in a safetensors file or in a file of ``numpy.savez``.

    Parameters
    ----------
    path
        The file.
    two_classes
        Whether scikit-learn's coefficients [1, features] of two classes become the logits 0 and z, whose softmax is
        its ``predict_proba``. If not, z is the only logit.

    Raises
    ------
    ModelError
        If it is damaged, would be unpickled, or is no linear head.
    """
    arrays = _read(path)
    names = {role: _name_of(role, arrays, path) for role in _NAMES}
    _require_no_others(arrays, names, path)
    weight, bias = (_floats(arrays, names[role], path) for role in ("weight", "bias"))
    if weight is None or bias is None:
        missing = "weight" if weight is None else "bias"
        listed = ", ".join(sorted(arrays)) or "nothing"
        raise ModelError(f"head {path}: has no {missing}, only {listed}; {_EXPECTED}")
    _require_one_layer(str(names["weight"]), str(names["bias"]), path)
    # scikit-learn writes one number for a model without an intercept.
    bias = np.full(len(weight), bias) if bias.shape == () and weight.ndim == 2 else bias
    if weight.ndim != 2 or 0 in weight.shape or bias.shape != weight.shape[:1]:
        raise ModelError(
            f"head {path}: {names['weight']} is {list(weight.shape)} and {names['bias']} is {list(bias.shape)}; "
            f"{_EXPECTED}"
        )
    mean, scale = (_floats(arrays, names[role], path) for role in ("mean", "scale"))
    _require_standardisation(mean, scale, weight.shape[1], path)
    if names["weight"] == _COEFFICIENTS and len(weight) == 1 and two_classes:
        weight, bias = np.concatenate([np.zeros_like(weight), weight]), np.concatenate([[0.0], bias])
    classes, numbers = _classes(arrays, names["classes"], len(weight), path)
    return LinearHead(weight, bias, mean, scale, classes, numbers)


def _read(path: Path) -> Arrays:
    if path.suffix == ".safetensors":
        # numpy has no bfloat16, and float64 has all values of the other formats.
        tensors = read_state(path)
        return {
            name: (tensor.double() if tensor.is_floating_point() else tensor).numpy()
            for name, tensor in tensors.items()
        }
    if path.suffix != ".npz":
        raise ModelError(
            f"head {path}: expected a file .safetensors or .npz; save it with safetensors.torch.save_file(head."
            f'state_dict(), "head.safetensors"), or numpy.savez("head.npz", coef_=model.coef_, '
            f"intercept_=model.intercept_)"
        )
    try:
        return _arrays(path)
    except _DAMAGE as error:
        raise ModelError(f"head {path}: cannot be read ({error}); expected a complete file of numpy.savez") from error


def _arrays(path: Path) -> Arrays:
    arrays: dict[str, npt.NDArray[Any]] = {}
    with zipfile.ZipFile(path) as archive:
        size = sum(member.file_size for member in archive.infolist())
        if size > _MOST_BYTES:
            raise ModelError(f"head {path}: has {size:,} bytes of arrays, expected at most {_MOST_BYTES:,}")
        for member in archive.namelist():
            name = member.removesuffix(".npy")
            with archive.open(member) as stream:
                try:
                    arrays[name] = np.lib.format.read_array(stream, allow_pickle=False)
                except ValueError as error:
                    if "Object arrays" not in str(error):
                        raise
                    raise ModelError(
                        f"head {path}: {name} is of Python objects, which would have to be unpickled; nothing of it "
                        f"was read. Save numbers or texts, such as classes_=model.classes_.astype(str)"
                    ) from error
    return arrays


def _name_of(role: str, arrays: Arrays, path: Path) -> str | None:
    """Return the name of the array for a role; None if there is none."""
    exact = [name for name in _NAMES[role] if name in arrays]
    nested = [name for name in arrays if name.endswith(f".{role}")] if role in ("weight", "bias") else []
    names = exact or nested
    if len(names) > 1:
        raise ModelError(
            f"head {path}: has several arrays that may be the {role}: {', '.join(sorted(names))}; save one linear layer"
        )
    return names[0] if names else None


def _require_one_layer(weight: str, bias: str, path: Path) -> None:
    is_sklearn = (weight, bias) == (_COEFFICIENTS, "intercept_")
    if not is_sklearn and weight.removesuffix("weight") != bias.removesuffix("bias"):
        raise ModelError(f"head {path}: {weight} and {bias} are not of one layer; {_EXPECTED}")


def _require_no_others(arrays: Arrays, names: Mapping[str, str | None], path: Path) -> None:
    """Raise for arrays that are not read: another step of a pipeline, such as a PCA, would silently be left out."""
    others = sorted(arrays.keys() - set(names.values()) - _IGNORED)
    if others and names["weight"] is not None:
        raise ModelError(f"head {path}: has {first_of(others)} besides the head, which would be ignored; {_EXPECTED}")


def _floats(arrays: Arrays, name: str | None, path: Path) -> Floats | None:
    if name is None:
        return None
    array = arrays[name]
    if array.dtype.kind != "f" or array.dtype.itemsize > 8:
        raise ModelError(f"head {path}: {name} is of {array.dtype}, expected float16, float32 or float64")
    if not np.isfinite(array).all():
        count = int((~np.isfinite(array)).sum())
        raise ModelError(f"head {path}: {name} has {count} values that are NaN or infinite; expected finite numbers")
    return array.astype(np.float64)


def _require_standardisation(mean: Floats | None, scale: Floats | None, features: int, path: Path) -> None:
    for name, values in (("mean_", mean), ("scale_", scale)):
        if values is not None and values.shape != (features,):
            raise ModelError(
                f"head {path}: {name} is {list(values.shape)}, expected [{features}], one for each feature"
            )
    if scale is not None and (scale <= 0).any():
        raise ModelError(
            f"head {path}: scale_ has {scale.min():g}, expected numbers above 0, as StandardScaler has them"
        )


def _classes(arrays: Arrays, name: str | None, count: int, path: Path) -> tuple[tuple[str, ...] | None, str | None]:
    """Return the class names, if ``classes_`` are texts; and numbers other than those of the logits, as text."""
    if name is None:
        return None, None
    labels = arrays[name]
    if labels.ndim != 1 or labels.dtype.kind not in "Uiufb":
        raise ModelError(
            f"head {path}: {name} is {labels.dtype} {list(labels.shape)}, expected texts or numbers [{count}]"
        )
    if (count, len(labels)) == (1, 2):
        # The only output is that of the second class.
        return ((str(labels[1]),) if labels.dtype.kind == "U" else None), None
    if len(labels) != count:
        raise ModelError(f"head {path}: {name} has {len(labels)} classes, and the head {count} outputs")
    if labels.dtype.kind == "U":
        return tuple(map(str, labels)), None
    is_numbered = np.array_equal(labels, np.arange(count))
    return None, None if is_numbered else ", ".join(map(str, labels[:8]))
