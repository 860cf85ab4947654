"""Takes the logits from a module's output: a tensor, or one entry of a tuple, a list, a dictionary or a dataclass.

`logits_of` takes what the module's library defines as the logits, and nothing else: an entry that only looks like
logits may be features or another head. `entry_of` takes the entry that the user names with ``output=KEY``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, Final

from pytest_biastransfer.errors import ModelError, nearest

_LOGITS: Final = "logits"
# The end of the names of transformers' classes whose tuple begins with the logits, as no loss is asked for.
_CLASSIFIER_OF_TRANSFORMERS: Final = "ForImageClassification"
_MOST_LISTED: Final = 12
# Outputs are nested one or two levels deep; a list may contain itself.
_DEEPEST: Final = 4


def logits_of(output: Any, module: object = None) -> Any:
    """Return the logits in a module's output if it is clear which they are, else the output as it is.

    Parameters
    ----------
    output
        What the module returned.
    module
        The module, if it is a Python object.

    Returns
    -------
    Any
        A tensor: the output itself; the entry ``logits`` of a mapping, of a dataclass or of a named tuple, as
        transformers' and torchvision's models return them; the first entry of the tuple that a classifier of
        transformers returns with ``return_dict=False``; or the only entry, if it is [batch, classes].

    Examples
    --------
    >>> import torch
    >>> logits_of({"features": torch.zeros(2, 8), "logits": torch.zeros(2, 3)}).shape
    torch.Size([2, 3])
    """
    if _is_tensor(output):
        return output
    entries = _entries(output)
    if _is_tensor(entries.get(_LOGITS)):
        return entries[_LOGITS]
    if isinstance(output, tuple) and _is_classifier_of_transformers(module) and entries:
        return output[0] if _is_tensor(output[0]) else output
    values = [value for value in entries.values() if value is not None]
    if len(values) == 1 and _is_tensor(values[0]) and values[0].ndim == 2:
        return values[0]
    return output


def entry_of(output: Any, key: str, origin: str) -> Any:
    """Return the tensor that ``output=KEY`` names in a module's output.

    Parameters
    ----------
    output
        What the module returned.
    key
        The name or number of an entry; of an entry in an entry, both with a dot, as in ``head.age``.
    origin
        What returned the output, for error messages.

    Raises
    ------
    ModelError
        If there is no such entry, or if it is no tensor.

    Examples
    --------
    >>> import torch
    >>> entry_of((torch.zeros(2, 8), {"age": torch.zeros(2, 3)}), "1.age", "model net").shape
    torch.Size([2, 3])
    """
    if _is_tensor(output):
        raise ModelError(f"{origin} returned a single tensor, {list(output.shape)}; leave out output={key}")
    value = _at(output, key)
    if value is None:
        names = [name for name, _ in _tensors(output)]
        raise ModelError(f"{origin} returned {listed(output)}, without an entry {key!r}; {nearest(key, names)}")
    if not _is_tensor(value):
        names = [f"{key}.{name}" for name, _ in _tensors(value)]
        expected = nearest(key, names) if names else "expected a tensor [batch, classes]"
        raise ModelError(f"{origin} returned {listed(output)}; output={key} is a {type(value).__name__}; {expected}")
    return value


def listed(output: Any) -> str:
    """Return an output's type, and the names and shapes of the tensors in it.

    >>> import torch
    >>> listed((torch.zeros(2, 8), [torch.zeros(2, 3)]))
    'a tuple of 0 [2, 8], 1.0 [2, 3]'
    """
    if _is_tensor(output):
        return str(list(output.shape))
    shapes = [f"{name} {list(tensor.shape)}" for name, tensor in _tensors(output)]
    if not shapes:
        return f"a {type(output).__name__} without tensors" if _entries(output) else f"a {type(output).__name__}"
    rest = [f"and {len(shapes) - _MOST_LISTED} more"] if len(shapes) > _MOST_LISTED else []
    return f"a {type(output).__name__} of {', '.join([*shapes[:_MOST_LISTED], *rest])}"


def without_logits(output: Any, images: int) -> str:
    """Return why an output for a number of images is not used as logits, and what to declare.

    >>> import torch
    >>> without_logits({"a": torch.zeros(2, 8), "b": torch.zeros(2, 3)}, 2)
    'returned a dict of a [2, 8], b [2, 3] for 2 images; name the one that is the logits: output=a or output=b'
    """
    found = f"returned {listed(output)} for {images} images"
    names = [name for name, tensor in _tensors(output) if tensor.ndim == 2 and len(tensor) == images]
    if _is_tensor(output) or not names:
        none = "" if _is_tensor(output) or not _entries(output) else "none of them is what a classifier returns; "
        return f"{found}; {none}expected logits [batch, classes], here [{images}, classes]"
    choices = " or ".join(f"output={name}" for name in names[:_MOST_LISTED])
    return f"{found}; name the one that is the logits: {choices}"


def _entries(output: Any) -> Mapping[str, Any]:
    """Return the entries of a container by name or number; empty for anything else."""
    if isinstance(output, Mapping):
        return {str(key): value for key, value in output.items()}
    if isinstance(output, tuple) and hasattr(output, "_fields"):
        return dict(zip(output._fields, output, strict=True))
    # A union of types breaks a graph of torch.compile before torch 2.10.
    if isinstance(output, (tuple, list)):
        return {str(number): value for number, value in enumerate(output)}
    if dataclasses.is_dataclass(output) and not isinstance(output, type):
        return {field.name: getattr(output, field.name) for field in dataclasses.fields(output)}
    return {}


def _at(output: Any, key: str) -> Any:
    """Return what is at a key with dots; None if there is nothing."""
    entries = _entries(output)
    if key in entries:
        return entries[key]
    # A key may have dots itself, so that the longest one that fits is used.
    for name in sorted(entries, key=len, reverse=True):
        if key.startswith(f"{name}."):
            return _at(entries[name], key.removeprefix(f"{name}."))
    return None


def _tensors(output: Any, prefix: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Yield the names and tensors in a container, at any depth."""
    for name, value in _entries(output).items():
        if _is_tensor(value):
            yield f"{prefix}{name}", value
        elif depth < _DEEPEST:
            yield from _tensors(value, f"{prefix}{name}.", depth + 1)


def _is_tensor(value: object) -> bool:
    import torch

    return isinstance(value, torch.Tensor)


def _is_classifier_of_transformers(module: object) -> bool:
    return any(
        base.__module__.partition(".")[0] == "transformers" and _CLASSIFIER_OF_TRANSFORMERS in base.__name__
        for base in type(module).__mro__
    )
