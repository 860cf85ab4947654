"""Verifies the JSON of an exported program against torch's own schema, and rewrites it.

The result has only fields of the installed torch's schema. This module lists which strings each field may contain; a
field that is not listed may contain no text, so a new field of a later torch is refused until it has been examined.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import json
import keyword
import re
import types
import typing
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from pytest_biastransfer.models.safe_loading.size_expressions import canonical_size, is_size_name
from pytest_biastransfer.models.safe_loading.tree_structures import canonical_structure, without_duplicates

# Operators on tensors, except those that access files. Operators of other libraries are excluded: they run any code.
_OPERATOR: Final = re.compile(
    r"torch\.ops\.(aten|prims|torchvision|quantized|quantized_decomposed)\.(?!from_file\b|save\b|load\b)[A-Za-z0-9_]+"
    r"(\.(?!_)[A-Za-z0-9_]+)?"
    r"|torch\.ops\.higher_order\.(cond|while_loop|scan|map_impl|associative_scan|wrap_with_set_grad_enabled"
    r"|wrap_with_autocast|flex_attention)"
    r"|torch\.(_sym_(sqrt|exp|log|log2|sin|cos|tan|tanh)|sym_[a-z]+)"
    r"|_operator\.(eq|ne|le|ge|lt|gt|neg|pos|abs|and_|or_|xor|not_|add|sub|mul|truediv|floordiv|mod|pow|lshift|rshift"
    r"|getitem)"
    r"|math\.(trunc|floor|ceil|sqrt|exp|log|log2|sin|cos|tan|tanh|pow)"
)
# torch generates Python source with the names of attributes in quotes, so quotes and backslashes are excluded.
_ATTRIBUTE: Final = re.compile(r"(?!__)[\w.\-/:@ ]*")
_TENSOR_FILE: Final = re.compile(r"(weight|tensor)_[0-9]{1,9}")
_DEVICE: Final = re.compile(r"[a-z]{1,20}")
_WORD: Final = re.compile(r"[A-Za-z0-9_]{0,80}")
_VERSION: Final = re.compile(r"(<=)?[0-9][A-Za-z0-9_.+\-]{0,80}")
_MOST_TEXT: Final = 10_000
# What to do with a model whose quantized tensors or operators are torchao's own.
QUANTIZED_OTHERWISE: Final = (
    "return the quantized module itself from a fixture, or quantize it with prepare_pt2e and convert_pt2e, with a "
    "scale for each tensor or channel"
)
_INFINITE: Final = frozenset({"Infinity", "-Infinity", "NaN"})
# torch unpickles these objects with the code of their classes.
_OBJECTS: Final = frozenset({"CustomObjArgument", "InputToCustomObjSpec"})


def _variable(text: str) -> str:
    if text and (not text.isidentifier() or keyword.iskeyword(text)):
        raise ValueError(f"a variable is called {text!r:.80}")
    return text


def _attribute(text: str) -> str:
    if not _ATTRIBUTE.fullmatch(text) or ".__" in text:
        raise ValueError(f"an attribute is called {text!r:.80}")
    return text


def _operator(text: str) -> str:
    if text.startswith("torch.ops.torchao."):
        raise ValueError(f"its program calls {text!r:.80}, which is torchao's and not torch's: {QUANTIZED_OTHERWISE}")
    if not _OPERATOR.fullmatch(text):
        raise ValueError(f"its program calls {text!r:.80}, which is no operator on tensors")
    return text


def _size(text: str) -> str:
    try:
        return canonical_size(text)
    except ValueError as error:
        raise ValueError(f"a size is {text!r:.80}, which is no arithmetic ({error})") from error


def _size_name(text: str) -> str:
    # The key of a size that is computed from others is its expression, which torch only compares.
    try:
        canonical_size(text)
    except ValueError as error:
        raise ValueError(f"a size is called {text!r:.80}") from error
    if not is_size_name(text) and text[:1] in "uz":
        raise ValueError(f"a size is called {text!r:.80}")
    return text


def _tensor_file(text: str) -> str:
    if not _TENSOR_FILE.fullmatch(text):
        raise ValueError(f"{text!r:.80} is no tensor")
    return text


def _free_text(text: str) -> str:
    # An argument of an operator, such as 'bilinear'. torch writes it into generated source with repr(), which is safe.
    if len(text) > _MOST_TEXT:
        raise ValueError(f"an argument has {len(text)} characters")
    return text


def _matching(pattern: re.Pattern[str], subject: str) -> Callable[[str], str]:
    def check(text: str) -> str:
        if not pattern.fullmatch(text):
            raise ValueError(f"{subject} is {text!r:.80}")
        return text

    return check


_Check = Callable[[str], str]
_STRINGS: Final = MappingProxyType[tuple[str, str], _Check](
    {
        ("Argument", "as_operator"): _operator,
        ("Argument", "as_string"): _free_text,
        ("Argument", "as_strings"): _free_text,
        ("BufferMutationSpec", "buffer_name"): _attribute,
        ("ConstantValue", "as_string"): _free_text,
        ("Device", "type"): _matching(_DEVICE, "a device"),
        ("ExportedProgram", "torch_version"): _matching(_VERSION, "the version of torch"),
        ("ExportedProgram", "verifiers"): _matching(_WORD, "a dialect"),
        ("GradientToParameterSpec", "parameter_name"): _attribute,
        ("GradientToUserInputSpec", "user_input_name"): _variable,
        ("GraphArgument", "name"): _variable,
        ("InputToBufferSpec", "buffer_name"): _attribute,
        ("InputToConstantInputSpec", "name"): _variable,
        ("InputToParameterSpec", "parameter_name"): _attribute,
        ("InputToTensorConstantSpec", "tensor_constant_name"): _attribute,
        ("ModuleCallEntry", "fqn"): _attribute,
        ("ModuleCallSignature", "forward_arg_names"): _variable,
        ("ModuleCallSignature", "in_spec"): canonical_structure,
        ("ModuleCallSignature", "out_spec"): canonical_structure,
        ("NamedArgument", "name"): _variable,
        ("Node", "name"): _variable,
        ("Node", "target"): _operator,
        ("ParameterMutationSpec", "parameter_name"): _attribute,
        ("PayloadMeta", "path_name"): _tensor_file,
        ("SymBoolArgument", "as_name"): _variable,
        ("SymExpr", "expr_str"): _size,
        ("SymFloatArgument", "as_name"): _variable,
        ("SymIntArgument", "as_name"): _variable,
        ("TensorArgument", "name"): _variable,
        ("TokenArgument", "name"): _variable,
        ("UserInputMutationSpec", "user_input_name"): _variable,
    }
)
_KEYS: Final = MappingProxyType[tuple[str, str], _Check](
    {
        ("Argument", "as_string_to_argument"): _variable,
        ("ExportedProgram", "opset_version"): _matching(_WORD, "a set of operators"),
        ("ExportedProgram", "range_constraints"): _size_name,
        ("Graph", "sym_bool_values"): _variable,
        ("Graph", "sym_float_values"): _variable,
        ("Graph", "sym_int_values"): _variable,
        ("Graph", "tensor_values"): _variable,
        ("PayloadConfig", "config"): _attribute,
    }
)
# Fields that the computation does not need: debugging information, and Python code that checks the inputs.
_DROPPED: Final = MappingProxyType[tuple[str, str], Any](
    {
        ("ExportedProgram", "guards_code"): [],
        ("GraphModule", "metadata"): {},
        ("GraphModule", "treespec_namedtuple_fields"): {},
        ("Node", "metadata"): {},
    }
)


def canonical_json(content: bytes, kind: str) -> tuple[bytes, Any]:
    """Return the rewritten JSON of one of torch's dataclasses, and its verified content.

    Parameters
    ----------
    content
        JSON text, in UTF-8.
    kind
        The name of the dataclass, ``"ExportedProgram"`` or ``"PayloadConfig"``.

    Raises
    ------
    ValueError
        If the text is no JSON, does not follow torch's schema, or contains a string that no exported model needs.
    RecursionError
        If the JSON is nested too deeply.
    """
    from torch._export.serde import schema

    data = _value(getattr(schema, kind), json.loads(content, object_pairs_hook=without_duplicates), (kind, ""))
    return json.dumps(data).encode(), data


def _value(hint: Any, value: Any, field: tuple[str, str]) -> Any:
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        (inner,) = (member for member in typing.get_args(hint) if member is not types.NoneType)
        return None if value is None else _value(inner, value, field)
    if origin is list:
        return [_value(typing.get_args(hint)[0], inner, field) for inner in _of_type(list, value, field)]
    if origin is dict:
        inner = typing.get_args(hint)[1]
        return {
            _key(name, field): _value(inner, content, field) for name, content in _of_type(dict, value, field).items()
        }
    if origin is tuple or field[1] == "as_none":
        # Older versions of torch write an empty tuple where newer ones write a boolean.
        if value not in (True, False, []):
            raise _misshapen(value, field)
        return value
    if dataclasses.is_dataclass(hint):
        return _record(hint, _of_type(dict, value, field))
    return _scalar(hint, value, field)


def _record(kind: Any, value: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a dataclass of torch's schema; a union has exactly one."""
    name = kind.__name__
    if name in _OBJECTS:
        raise ValueError("it holds an object with code of its own")
    hints = _hints(kind)
    if _is_union(kind):
        if len(value) != 1 or value.keys() - hints.keys():
            raise _misshapen(value, (name, ""))
    elif missing := {field.name for field in dataclasses.fields(kind) if _is_required(field)} - value.keys():
        raise ValueError(f"its {name} lacks {', '.join(sorted(missing))}, as torch.export.save writes it")
    return {
        field: _DROPPED[name, field] if (name, field) in _DROPPED else _value(hints[field], inner, (name, field))
        for field, inner in value.items()
        # Unknown fields, perhaps of a newer version, are dropped, as torch itself does.
        if field in hints
    }


@functools.cache
def _hints(kind: Any) -> dict[str, Any]:
    from torch._export.serde import schema

    return typing.get_type_hints(kind, vars(schema))


def _is_union(kind: Any) -> bool:
    from torch._export.serde.union import _Union

    return issubclass(kind, _Union)


def _is_required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _scalar(hint: Any, value: Any, field: tuple[str, str]) -> Any:
    if hint is str:
        return _string(_of_type(str, value, field), field)
    if hint is bool:
        return _of_type(bool, value, field)
    if hint is int or (isinstance(hint, type) and issubclass(hint, enum.IntEnum)):
        return _whole(value, field)
    if hint is float:
        # JSON has no infinite numbers, so torch writes them as strings.
        return value if isinstance(value, str) and value in _INFINITE else float(_of_type((int, float), value, field))
    raise ValueError(f"torch's {'.'.join(field)} is of a kind that is not read")


def _string(text: str, field: tuple[str, str]) -> str:
    check = _STRINGS.get(field)
    if check is not None:
        return check(text)
    if text:
        raise ValueError(f"torch's {'.'.join(field)} is {text!r:.80}, which is not read")
    return text


def _key(name: str, field: tuple[str, str]) -> str:
    check = _KEYS.get(field)
    if check is None:
        raise ValueError(f"torch's {'.'.join(field)} has {name!r:.80}, which is not read")
    return check(name)


def _whole(value: Any, field: tuple[str, str]) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) >= 2**64:
        raise _misshapen(value, field)
    return value


def _of_type(kind: Any, value: Any, field: tuple[str, str]) -> Any:
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise _misshapen(value, field)
    return value


def _misshapen(value: Any, field: tuple[str, str]) -> ValueError:
    return ValueError(f"{'.'.join(filter(None, field))} is {value!r:.80}, not as torch.export.save writes it")
