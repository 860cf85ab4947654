"""Reads ``adapter_config.json`` of a PEFT adapter, and refuses what would run code, read other files or take forever.

PEFT imports modules that a configuration names, compiles its texts as regular expressions, and changes the base model
for some ways to initialize an adapter. So numbers and switches pass, and other values only in fields that are known.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from pytest_biastransfer.errors import ModelError

CONFIG: Final = "adapter_config.json"
# Types whose layers are computed from the adapter's tensors and the base's alone. Not among them: prompts and tokens,
# which images have none of, BOFT, which compiles a kernel, and types that are initialized from the base.
TYPES: Final = (
    *("ADALORA", "C3A", "DELORA", "FOURIERFT", "HRA", "IA3", "LN_TUNING", "LOHA", "LOKR", "LORA", "MISS", "OFT"),
    *("RANDLORA", "SHIRA", "VERA"),
)
# Fields that describe the training, the base's location, or code for `AutoPeftModel`; predictions need none of them.
_DROPPED: Final = frozenset(
    {
        *("auto_mapping", "base_model_name_or_path", "eva_config", "inference_mode", "peft_type", "peft_version"),
        *("revision", "runtime_config", "task_type"),
        # A module to import, which PEFT uses only with megatron_config.
        "megatron_core",
    }
)
# Ways to initialize weights that the file replaces. Others, such as PiSSA, subtract something from the base.
_INITIALIZATIONS: Final = ("gaussian", "orthogonal", "eva", "lycoris", "xavier_uniform", "kaiming_uniform")
_BIASES: Final = re.compile(r"none|all|[a-z0-9]+_only")
# PEFT compiles these names, too: a dot in them is any character.
_NAME: Final = re.compile(r"\^?[\w\-]+(\.[\w\-]+)*\$?")

_MOST_BYTES: Final = 2**20
# Names of modules are shorter than this.
_NAME_LENGTH: Final = 100
_MOST_STEPS: Final = 10**6
# A pattern's parts: an escaped or plain character or class, each with a quantifier; the marks of groups and edges.
_PART: Final = re.compile(
    r"(?P<atom>\\[dws.\-_]|\[[\w\-.]+\]|[\w\-.])(?P<quantifier>\?|[*+]\??|\{[1-9]\})?|(?P<open>\((\?:)?)|(?P<bar>\|)"
    r"|(?P<close>\))|(?P<edge>[\^$])"
)


def read_adapter_config(path: Path, origin: str) -> dict[str, Any]:
    """Return the type and the options of an adapter, all of which may be passed to PEFT.

    Parameters
    ----------
    path
        The file ``adapter_config.json``.
    origin
        What needs it, such as ``spec 'hf:vit?adapter=pets'``: the beginning of error messages.

    Raises
    ------
    ModelError
        If the file is not JSON, or its adapter is not supported or unsafe.
    """
    content = _read(path, origin)
    kind = content.get("peft_type")
    if kind not in TYPES:
        raise ModelError(
            f"{origin}: {path} has peft_type {kind!r:.60}, expected one of {', '.join(TYPES)}; save the merged model, "
            f"if it can be merged: model.merge_and_unload().save_pretrained(DIR)"
        )
    options = {name: value for name, value in content.items() if name not in _DROPPED}
    for name, value in options.items():
        expected = _problem(name, value)
        if expected is not None:
            raise ModelError(
                f"{origin}: {path} has {name}={value!r:.100}, expected {expected}; save the merged model instead: "
                f"model.merge_and_unload().save_pretrained(DIR)"
            )
    return {"peft_type": kind} | {name: value for name, value in options.items() if not _is_initialization(name)}


def is_fast(pattern: str) -> bool:
    r"""Whether a regular expression is one of names that matches in few steps, whatever the name.

    Python's matching takes time that grows exponentially with some patterns. Allowed are characters, classes and
    alternatives, and as many repetitions of single characters as take a million steps for a name of 100 characters.

    >>> is_fast(r".*\.layer\.\d+\..*\.(query|value)"), is_fast(r"(a|a)*b"), is_fast(r".*a.*b.*c.*d.*e")
    (True, False, False)
    """
    if len(pattern) > 10 * _NAME_LENGTH:
        return False
    position, depth, steps, bars = 0, 0, 1, [1]
    while position < len(pattern):
        part = _PART.match(pattern, position)
        if part is None or (part["close"] and not depth):
            return False
        position = part.end()
        if part["open"]:
            depth += 1
            bars.append(1)
        elif part["bar"]:
            bars[-1] += 1
        elif part["close"]:
            depth -= 1
            steps *= bars.pop()
        elif part["quantifier"]:
            steps *= _repetitions(part["atom"], part["quantifier"])
    return depth == 0 and steps * bars[0] <= _MOST_STEPS


def _repetitions(atom: str, quantifier: str) -> int:
    if quantifier == "?":
        return 2
    if quantifier.startswith("{"):
        return 1
    # Names of modules have numbers of three digits at most.
    return 4 if atom == r"\d" else _NAME_LENGTH


def _read(path: Path, origin: str) -> dict[str, Any]:
    try:
        size = path.stat().st_size
        content = json.loads(path.read_text(encoding="utf-8")) if size <= _MOST_BYTES else None
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{origin}: {path} cannot be loaded: not JSON ({error})") from error
    if not isinstance(content, dict):
        raise ModelError(f"{origin}: {path} has {size:,} bytes, expected a JSON object of at most {_MOST_BYTES:,}")
    return content


def _problem(name: str, value: object) -> str | None:
    """Return what was expected in a field, or None if its value is fine."""
    check = _CHECKS.get(name)
    # Without a value, nothing is done.
    if value is None or (isinstance(value, dict | list | str) and not value):
        return None
    if check is not None:
        expected, is_valid = check
        return None if is_valid(value) else expected
    return None if _is_number(value) else "a number or a switch, as nothing else is supported"


def _is_number(value: object) -> bool:
    return isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value))


def _is_initialization(name: str) -> bool:
    return name.startswith("init_") and name.endswith("weights")


def _is_harmless_initialization(value: object) -> bool:
    return isinstance(value, bool) or value in _INITIALIZATIONS


def _is_bias(value: object) -> bool:
    return isinstance(value, str) and _BIASES.fullmatch(value) is not None


def _are_modules(value: object) -> bool:
    return is_fast(value) if isinstance(value, str) else _are_names(value)


def _are_names(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_name, value))


def _is_name(value: object) -> bool:
    return isinstance(value, str) and len(value) <= 10 * _NAME_LENGTH and _NAME.fullmatch(value) is not None


def _are_whole(value: object) -> bool:
    values: Iterable[object] = value if isinstance(value, list) else [value]
    return all(type(number) is int for number in values)


def _are_numbers_of_names(value: object) -> bool:
    if not isinstance(value, dict):
        return False
    # AdaLoRA keeps a mask of its ranks for each module.
    flat = [number for entry in value.values() for number in (entry if isinstance(entry, list) else [entry])]
    return all(map(_is_name, value)) and all(map(_is_number, flat))


_PATTERN_OF_MODULES: Final = ("names of modules, or a plain regular expression of them", _are_modules)
_NUMBERS_OF_NAMES: Final = ("numbers by names of modules", _are_numbers_of_names)
_INITIALIZATION: Final = (
    f"true, false or one of {', '.join(_INITIALIZATIONS)}, as others change the base",
    _is_harmless_initialization,
)
_CHECKS: Final[Mapping[str, tuple[str, Callable[[object], bool]]]] = MappingProxyType(
    {
        "target_modules": _PATTERN_OF_MODULES,
        "exclude_modules": _PATTERN_OF_MODULES,
        "feedforward_modules": _PATTERN_OF_MODULES,
        "modules_to_save": ("names of modules", _are_names),
        "layers_pattern": ("the name of a list of layers", lambda value: _is_name(value) or _are_names(value)),
        "layers_to_transform": ("numbers of layers", _are_whole),
        "rank_pattern": _NUMBERS_OF_NAMES,
        "alpha_pattern": _NUMBERS_OF_NAMES,
        "lambda_pattern": _NUMBERS_OF_NAMES,
        "n_frequency_pattern": _NUMBERS_OF_NAMES,
        "block_size_pattern": _NUMBERS_OF_NAMES,
        "bias": ("none, all or the name of a type with _only", _is_bias),
        "init_weights": _INITIALIZATION,
        "init_lora_weights": _INITIALIZATION,
        "init_ia3_weights": _INITIALIZATION,
        "mask_type": ("random", lambda value: value == "random"),
    }
)
