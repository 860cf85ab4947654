"""What an archive of ``torch.export`` may hold, so that loading it runs nothing but operators on tensors.

torch takes names, operators and expressions from the archive as Python would, and falls back to unpickling. So
each of them is looked at first, and what no exported model needs is refused.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from pytest_biastransfer.errors import ModelError
from pytest_biastransfer.models.archives import opened
from pytest_biastransfer.models.plain_data import UNREADABLE, read_plain, reason_of

_VARIABLE: Final = re.compile(r"([A-Za-z_]\w*)?")
_ATTRIBUTE: Final = re.compile(r"[\w.\-/:@ ]*")
# Operators of other libraries would be code of theirs; some of torch's own reach files.
_OPERATOR: Final = re.compile(
    r"torch\.ops\.(aten|prims|torchvision|quantized|quantized_decomposed)\.\w+(\.\w+)?"
    r"|torch\.ops\.higher_order\.(cond|while_loop|scan|map_impl|associative_scan|wrap_with_set_grad_enabled"
    r"|wrap_with_autocast|flex_attention)"
    r"|torch\.sym_[a-z]+|_operator\.[a-z]+|math\.[a-z0-9]+"
)
_REACHES_FURTHER: Final = re.compile(
    r"torch\.ops\.aten\.(from_file|save|load)\b|_operator\.(attrgetter|itemgetter|methodcaller|call)\b|.*\.__"
)
_WORD: Final = re.compile(r"[A-Za-z_]\w*")
_SYMBOL: Final = re.compile(r"[a-z]+[0-9]+")
# sympy writes these in quotes.
_QUOTED: Final = re.compile(
    r"Symbol\('(?P<name>[a-z]+[0-9]+)'(, [a-z_]+=(True|False))*\)|Float\('[0-9.e+-]+', precision=[0-9]+\)"
)
_ARITHMETIC: Final = re.compile(r"[\w\s+\-*/%(),.<>=&|~!]*")
# The functions of sizes that torch.export writes, those of sympy and those of torch.
_FUNCTIONS: Final = re.compile(
    r"Abs|Add|And|BitwiseFn_bitwise_(and|or)|Ceil(Div|ToInt)|CleanDiv|Eq|Float|Float(Pow|TrueDiv)|Floor(Div|ToInt)|Ge|Gt|"
    r"Identity|Integer|IntTrueDiv|IsNonOverlappingAndDenseIndicator|[LR]Shift|Le|Lt|Max|Min|Mod|Mul|ModularIndexing|Ne|Not|Or|"
    r"Pow|PowByNatural|PythonMod|Rational|Round(Decimal|ToInt)|ToFloat|Trunc(ToFloat|ToInt)|Where|ceiling|floor|true|false|True|False|"
    r"(int_)?oo|zoo|nan"
)
# What torch calls the files of weights and constants.
_TENSOR_FILE: Final = re.compile(r"(weight|tensor)_[0-9]+")
# Where names, operators and expressions stand in the archive's JSON. torch writes the names into the source of a
# function: those of variables as they are, those of attributes in quotes.
_VARIABLES: Final = frozenset({"name", "as_name", "forward_arg_names"})
_ATTRIBUTES: Final = frozenset({"parameter_name", "buffer_name", "tensor_constant_name", "custom_obj_name", "fqn"})
_OPERATORS: Final = frozenset({"target", "as_operator"})
_EXPRESSIONS: Final = frozenset({"expr_str", "as_expr"})
# How inputs and outputs are nested; the outputs of Hugging Face's models have types of their own.
_STRUCTURES: Final = frozenset({"in_spec", "out_spec"})
_PLAIN_TYPE: Final = re.compile(
    r"builtins\.(tuple|list|dict)|collections\.OrderedDict|transformers\.modeling_outputs\.\w+"
)


def require_only_tensors_and_operators(path: Path) -> None:
    """Raise `ModelError` for an archive with anything that no model needs."""
    with opened(path, f"export {path}") as members:
        pickled = {name for name in members if name.endswith(".pt")}
        for name in members:
            if "/data/aotinductor/" in f"/{name}":
                raise _refused(path, f"{name} is compiled code")
            if name.endswith(".json"):
                found = _read_json(path, name, members[name])
                pickled |= {f"{name.rpartition('/')[0]}/{file}" for file in _pickled_tensors(path, found)}
        for name in sorted(pickled & members.keys()):
            _require_plain(path, name, members[name])


def _read_json(path: Path, member: str, content: bytes) -> Any:
    try:
        found = json.loads(content)
        problem = next(_problems(found), None)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"export {path}: {member} is damaged ({error})") from error
    if problem is not None:
        raise _refused(path, problem)
    return found


def _pickled_tensors(path: Path, found: Any) -> Iterator[str]:
    """Yield the names of the files that a list of weights or constants says are pickled."""
    listed = found.get("config") if isinstance(found, dict) else None
    for attribute, payload in listed.items() if isinstance(listed, dict) else ():
        if not _ATTRIBUTE.fullmatch(attribute):
            raise _refused(path, f"a tensor is called {attribute!r:.80}")
        name = str(payload.get("path_name")) if isinstance(payload, dict) else ""
        if not _TENSOR_FILE.fullmatch(name):
            raise _refused(path, f"{name!r:.80} is no tensor")
        if payload.get("use_pickle"):
            yield name


def _require_plain(path: Path, member: str, content: bytes) -> None:
    try:
        read_plain(io.BytesIO(content))
    except UNREADABLE as error:
        raise _refused(path, f"{member} holds more than tensors, or is damaged ({reason_of(error)})") from error


def _problems(value: Any, key: str = "") -> Iterator[str]:
    """Yield what in a part of the JSON is not as torch.export writes it."""
    if isinstance(value, dict):
        if key == "range_constraints":
            yield from (f"a size is called {name!r}" for name in value if not _is_expression(name))
        for name, inner in value.items():
            yield from _problems(inner, name)
    elif isinstance(value, list):
        for inner in value:
            yield from _problems(inner, key)
    elif isinstance(value, str):
        yield from _problem(value, key)


def _problem(text: str, key: str) -> Iterator[str]:
    if key in _VARIABLES and not _VARIABLE.fullmatch(text):
        yield f"a variable is called {text!r:.80}"
    elif key in _ATTRIBUTES and not _ATTRIBUTE.fullmatch(text):
        yield f"an attribute is called {text!r:.80}"
    elif key in _OPERATORS and not _is_operator(text):
        yield f"its program calls {text!r:.80}, which is no operator on tensors"
    elif key in _EXPRESSIONS and not _is_expression(text):
        yield f"a size is {text!r:.80}, which is no arithmetic"
    elif key in _STRUCTURES:
        yield from (f"its inputs or outputs are of type {kind!r:.80}" for kind in _foreign_types(json.loads(text)))


def _foreign_types(structure: Any) -> Iterator[object]:
    """Yield the types in a structure of inputs or outputs that torch would have to import."""
    if isinstance(structure, dict):
        kind = structure.get("type")
        if "__enum__" in structure or (kind is not None and not _is_plain_type(kind)):
            yield kind or structure
        yield from _foreign_types(list(structure.values()))
    elif isinstance(structure, list):
        for inner in structure:
            yield from _foreign_types(inner)
    elif isinstance(structure, str) and "__enum__" in structure:
        yield structure


def _is_plain_type(kind: object) -> bool:
    return isinstance(kind, str) and _PLAIN_TYPE.fullmatch(kind) is not None


def _is_operator(text: str) -> bool:
    return _OPERATOR.fullmatch(text) is not None and not _REACHES_FURTHER.match(text)


def _is_expression(text: str) -> bool:
    text = _QUOTED.sub(lambda found: found["name"] or "1.0", text)
    words = _WORD.findall(text)
    return _ARITHMETIC.fullmatch(text) is not None and all(
        _FUNCTIONS.fullmatch(word) or _SYMBOL.fullmatch(word) for word in words
    )


def _refused(path: Path, reason: str) -> ModelError:
    return ModelError(f"export {path}: {reason}; nothing in it was run. Export the model again with torch.export.save")
