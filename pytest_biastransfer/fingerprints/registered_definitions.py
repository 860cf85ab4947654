"""Functions and classes that are given to other code where they are defined: by decorators, and by base classes."""

from __future__ import annotations

import ast
import builtins
import sys
from collections.abc import Mapping
from typing import Final

from pytest_biastransfer.fingerprints.installed import FRAMEWORKS
from pytest_biastransfer.fingerprints.scopes import Definition, Imported, Scope, path_of

# Libraries that call or return what texts name.
BY_TEXT: Final = frozenset(
    (
        "_pytest", "bdb", "builtins", "cProfile", "code", "codeop", "concurrent", "doctest", "gc", "hypothesis", "imp",
        "importlib", "inspect", "marshal", "multiprocessing", "pdb", "pickle", "pkgutil", "pluggy", "profile", "pydoc",
        "pytest", "runpy", "shelve", "timeit", "trace", "unittest", "xdist", "zipimport",
    )
)  # fmt: skip
# Python's private modules are the other halves of public ones, such as of pickle.
_STANDARD: Final = {name for name in sys.stdlib_module_names if not name.startswith("_")}
# Architectures often use these, which look up nothing by a text either.
_OTHERS: Final = {"__future__", "einops", "typing_extensions"}
SAFE_LIBRARIES: Final = frozenset((FRAMEWORKS | _STANDARD | _OTHERS) - BY_TEXT)
# Decorators that only call the function where it is called itself.
_DECORATORS: Final = frozenset(
    (
        *("staticmethod", "classmethod", "property", "dataclasses.dataclass", "contextlib.contextmanager"),
        *("functools.cache", "functools.lru_cache", "functools.cached_property", "functools.wraps"),
        *("abc.abstractmethod", "typing.final", "torch.no_grad", "torch.inference_mode"),
    )
)


def is_registered(
    scopes: Mapping[str, Scope], scope: Scope, node: Definition, route: frozenset[int] = frozenset()
) -> bool:
    """Whether defining a function or class gives it to code that may call it: a decorator, or a base class."""
    if any(library_name(scopes, scope, decorator) not in _DECORATORS for decorator in node.decorator_list):
        return True
    if not isinstance(node, ast.ClassDef) or id(node) in route:
        return False
    if node.keywords or (route and _has_hook(node)):
        return True
    return not all(_is_plain_base(scopes, scope, base, route | {id(node)}) for base in node.bases)


def _is_plain_base(scopes: Mapping[str, Scope], scope: Scope, base: ast.expr, route: frozenset[int]) -> bool:
    if any(isinstance(inner, ast.Call) for inner in ast.walk(base)):
        return False
    name = library_name(scopes, scope, base.value if isinstance(base, ast.Subscript) else base)
    if name is not None:
        return name.partition(".")[0] in SAFE_LIBRARIES or hasattr(builtins, name)
    definition = _definition(scopes, scope, base)
    return definition is not None and not is_registered(scopes, *definition, route)


def library_name(scopes: Mapping[str, Scope], scope: Scope, node: ast.expr) -> str | None:
    """Return the path of a library's or builtin function or class, called or not; None for anything else."""
    base, attributes = path_of(node.func if isinstance(node, ast.Call) else node)
    if not isinstance(base, ast.Name):
        return None
    bindings = scope.bindings.get(base.id, ())
    if not bindings:
        return base.id if hasattr(builtins, base.id) and not attributes else None
    if len(bindings) > 1 or not isinstance(bindings[0], Imported):
        return None
    path = [bindings[0].module, *filter(None, [bindings[0].member]), *attributes]
    is_users = any(".".join(path[:end]) in scopes for end in range(1, len(path) + 1))
    return None if is_users else ".".join(path)


def _definition(scopes: Mapping[str, Scope], scope: Scope, node: ast.expr) -> tuple[Scope, Definition] | None:
    """Return the class in the user's code that a base names, if it is only one."""
    base, attributes = path_of(node)
    bindings = scope.bindings.get(base.id, ()) if isinstance(base, ast.Name) else ()
    for _ in range(len(scopes) + 1):
        if len(bindings) != 1:
            return None
        (binding,) = bindings
        if isinstance(binding, ast.ClassDef):
            return None if attributes else (scope, binding)
        if not isinstance(binding, Imported):
            return None
        path = ".".join([binding.module, *filter(None, [binding.member]), *attributes])
        module, _, name = path.rpartition(".")
        if module not in scopes:
            return None
        scope, bindings, attributes = scopes[module], scopes[module].bindings.get(name, ()), []
    return None


def _has_hook(node: ast.ClassDef) -> bool:
    """Whether a class may get its subclasses when they are defined."""
    names = (getattr(inner, "name", None) or getattr(inner, "id", None) for inner in ast.walk(node))
    return "__init_subclass__" in names
