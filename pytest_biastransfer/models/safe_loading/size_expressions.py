"""Parses the size expressions of an exported program with a strict grammar, and rewrites them.

torch passes these expressions to ``sympy.sympify``, which evaluates them as Python code. The rewritten expressions have
only whole numbers, decimals, names of sizes, operators, comparisons and the functions of sizes of torch.export.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from types import MappingProxyType
from typing import Final

_TOKEN: Final = re.compile(
    r"\s*(?:(?P<number>[0-9]+(?:\.[0-9]*)?(?:e[+-]?[0-9]{1,3})?)(?![\w.])|(?P<name>[A-Za-z_][A-Za-z0-9_]*)"
    r"|(?P<string>'[A-Za-z0-9.+\-]{1,64}')|(?P<sign>\*\*|//|<<|>>|<=|>=|==|!=|[-+*/%()<>&|~,=]))"
)
_SIZE: Final = re.compile(r"[a-z]{1,8}[0-9]{1,6}")
_DECIMAL: Final = re.compile(r"[+-]?[0-9]+(\.[0-9]*)?(e[+-]?[0-9]{1,6})?")
_CONSTANTS: Final = frozenset({"true", "false", "True", "False", "oo", "int_oo", "zoo", "nan"})
# Functions of sympy and torch. Comparisons have long names where torch writes them as functions.
_FUNCTIONS: Final = re.compile(
    r"Abs|Add|And|BitwiseFn_bitwise_(and|or|xor)|Ceil(Div|ToInt)|CleanDiv|Eq|Equality|Float(Pow|TrueDiv)|Floor(Div|ToInt)|"
    r"Ge|GreaterThan|Gt|Identity|Integer|IntTrueDiv|IsNonOverlappingAndDenseIndicator|[LR]Shift|Le|LessThan|Lt|Max|Min|"
    r"Mod|Mul|ModularIndexing|Ne|Not|Or|Pow|PowByNatural|PythonMod|Rational|Round(Decimal|ToInt)|Strict(Greater|Less)Than|"
    r"ToFloat|Trunc(ToFloat|ToInt)|Unequality|Where|Xor|ceiling|floor|OpaqueUnaryFn_(sqrt|exp|log|log2|sin|cos|tan|tanh)"
)
_ASSUMPTIONS: Final = frozenset(
    {"integer", "positive", "negative", "nonnegative", "nonpositive", "nonzero", "zero", "real", "finite", "rational",
     "commutative", "even", "odd", "extended_real", "extended_positive", "extended_nonnegative"}
)  # fmt: skip
# Python's operators by increasing precedence. Comparisons are not chained.
_LEVELS: Final = (
    frozenset({"<", "<=", ">", ">=", "==", "!="}),
    frozenset({"|"}),
    frozenset({"&"}),
    frozenset({"<<", ">>"}),
    frozenset({"+", "-"}),
    frozenset({"*", "/", "//", "%"}),
)
_MOST_CHARACTERS: Final = 20_000
_MOST_NESTED: Final = 60
_MOST_DIGITS: Final = 20
# Functions whose result grows fast. Their exponent is limited, as sympy computes the number when it parses it.
_GROWING: Final = frozenset({"Pow", "PowByNatural", "FloatPow", "LShift"})
_LARGEST_EXPONENT: Final = 64


def canonical_size(text: str) -> str:
    """Return the same expression with explicit brackets; raise `ValueError` for anything else than arithmetic of sizes.

    >>> canonical_size("s0 + 2*s1 // 3")
    '(s0 + ((2 * s1) // 3))'
    >>> canonical_size("Max(Integer(1), Symbol('s0', integer=True))")
    "Max(Integer(1), Symbol('s0', integer=True))"
    """
    if len(text) > _MOST_CHARACTERS:
        raise ValueError(f"it has {len(text)} characters")
    return _Reader(_tokens(text)).expression()


def is_size_name(text: str) -> bool:
    """Whether a text is a name that torch gives to sizes, such as ``s0``."""
    return _SIZE.fullmatch(text) is not None


def _tokens(text: str) -> list[tuple[str, str]]:
    tokens = []
    position, end = 0, len(text.rstrip())
    while position < end:
        token = _TOKEN.match(text, position)
        if token is None:
            raise ValueError(f"{text[position : position + 20]!r} is no arithmetic")
        tokens.append((str(token.lastgroup), token[str(token.lastgroup)]))
        position = token.end()
    return tokens


class _Reader:
    """A recursive-descent parser; each method consumes tokens and returns their rewritten text."""

    def __init__(self, tokens: list[tuple[str, str]]) -> None:
        self._tokens = [*tokens, ("end", "")]
        self._position = 0
        self._depth = 0

    def expression(self) -> str:
        """Return the expression; raise `ValueError` unless it consumes all tokens."""
        expression = self._operation(0)
        self._expect("")
        return expression

    def _operation(self, level: int) -> str:
        if level == len(_LEVELS):
            return self._signed()
        left = self._operation(level + 1)
        while self._next in _LEVELS[level]:
            sign = self._take()
            right = self._operation(level + 1)
            if sign == "<<":
                _require_small_power(left, right)
            left = f"({left} {sign} {right})"
            if level == 0:
                break
        return left

    def _signed(self) -> str:
        if self._next in ("-", "+", "~"):
            sign = self._take()
            with _Nested(self):
                return f"({sign}{self._signed()})"
        base = self._operand()
        if self._next != "**":
            return base
        self._take()
        with _Nested(self):
            exponent = self._signed()
        _require_small_power(base, exponent)
        return f"({base} ** {exponent})"

    def _operand(self) -> str:
        kind, text = self._tokens[self._position]
        self._position += 1
        if kind == "number":
            return _number(text)
        if kind == "name":
            return self._named(text)
        if text != "(":
            raise ValueError(f"{text!r} where a number or a size is expected" if text else "it ends too early")
        with _Nested(self):
            inner = self._operation(0)
        self._expect(")")
        return inner

    def _named(self, name: str) -> str:
        if self._next != "(":
            if name in _CONSTANTS or is_size_name(name):
                return name
            raise ValueError(f"{name!r} is no size")
        self._take()
        if name in _QUOTING:
            return f"{name}({_QUOTING[name](self)})"
        if not _FUNCTIONS.fullmatch(name):
            raise ValueError(f"{name!r} is no function of sizes")
        with _Nested(self):
            arguments = [self._operation(0)]
            while self._next == ",":
                self._take()
                arguments.append(self._operation(0))
        self._expect(")")
        if name in _GROWING:
            _require_small_power(arguments[0], arguments[-1])
        return f"{name}({', '.join(arguments)})"

    def symbol(self) -> str:
        """Return the arguments of ``Symbol('s0', integer=True)``."""
        name = self._string()
        if not is_size_name(name):
            raise ValueError(f"a size is called {name!r}")
        assumptions = []
        while self._next == ",":
            self._take()
            assumption = self._take()
            self._expect("=")
            value = self._take()
            if assumption not in _ASSUMPTIONS or value not in ("True", "False"):
                raise ValueError(f"{assumption}={value} is nothing that is known of a size")
            assumptions.append(f", {assumption}={value}")
        self._expect(")")
        return f"'{name}'{''.join(assumptions)}"

    def decimal(self) -> str:
        """Return the arguments of ``Float('0.5', precision=53)``."""
        number = self._string()
        if not _DECIMAL.fullmatch(number):
            raise ValueError(f"{number!r} is no number")
        precision = ""
        if self._next == ",":
            for expected in (",", "precision", "="):
                self._expect(expected)
            bits = self._take()
            if not re.fullmatch(r"[0-9]{1,4}", bits):
                raise ValueError(f"precision={bits} is no number of bits")
            precision = f", precision={int(bits)}"
        self._expect(")")
        return f"'{number}'{precision}"

    def _string(self) -> str:
        kind, text = self._tokens[self._position]
        if kind != "string":
            raise ValueError(f"{text!r} where a name in quotes is expected")
        self._position += 1
        return text[1:-1]

    @property
    def _next(self) -> str:
        return self._tokens[self._position][1]

    def _take(self) -> str:
        kind, text = self._tokens[self._position]
        if kind == "end":
            raise ValueError("it ends too early")
        self._position += 1
        return text

    def _expect(self, text: str) -> None:
        if self._next != text:
            raise ValueError(f"{self._next!r} where {text!r} is expected" if self._next else "it ends too early")
        self._position += 1

    def change_depth(self, by: int) -> None:
        """Enter or leave brackets; raise if they are nested too deeply."""
        self._depth += by
        if self._depth > _MOST_NESTED:
            raise ValueError("it is nested too deeply")


_QUOTING: Final = MappingProxyType[str, Callable[[_Reader], str]]({"Symbol": _Reader.symbol, "Float": _Reader.decimal})


class _Nested:
    def __init__(self, reader: _Reader) -> None:
        self._reader = reader

    def __enter__(self) -> None:
        self._reader.change_depth(1)

    def __exit__(self, *error: object) -> None:
        self._reader.change_depth(-1)


def _number(text: str) -> str:
    if not text.isdecimal():
        return text
    if len(text.lstrip("0")) > _MOST_DIGITS:
        raise ValueError(f"a number of {len(text)} digits")
    return text.lstrip("0") or "0"


def _require_small_power(base: str, exponent: str) -> None:
    """Raise for large exponents and nested powers: sympy would compute the huge number while it parses it."""
    numbers = re.findall(r"(?<![\w'.])[0-9]+", exponent)
    nested = any(sign in text for text in (base, exponent) for sign in ("**", "Pow", "<<", "LShift"))
    if nested or any(int(number) > _LARGEST_EXPONENT for number in numbers):
        raise ValueError(f"the exponent {exponent!r:.40} is too large")
