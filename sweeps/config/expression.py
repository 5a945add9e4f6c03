"""Arithmetic over a grid cell, for `grid.where` and `grid.derive`: names, numbers, comparisons, a few functions."""

import ast
import math
import operator
from collections.abc import Callable, Mapping
from typing import Any

from sweeps.errors import SweepError

Functions = Mapping[str, Callable[..., Any]]
_BINARY: dict[type, Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_COMPARE: dict[type, Callable[..., Any]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_UNARY: dict[type, Callable[..., Any]] = {
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
    ast.Not: operator.not_,
}
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    f.__name__: f for f in (math.sqrt, math.log, math.log2, math.exp, math.ceil, math.floor)
} | {f.__name__: f for f in (abs, min, max, round, int, float)}


def evaluate(expression: str, names: Mapping[str, Any], functions: Functions | None = None) -> Any:
    """The value of `expression`, e.g. "2e-3 * sqrt(1024 / n_latents)"; `names` holds the cell's values.

    Only arithmetic is understood: no attribute, index or call but the functions above and those given, so a config
    cannot run code.
    """
    try:
        return _value(ast.parse(expression, mode="eval").body, names, _FUNCTIONS | dict(functions or {}))
    except SyntaxError as error:
        raise SweepError(f"The expression {expression!r} is not arithmetic: {error.msg}.") from error
    except KeyError as error:
        raise SweepError(
            f"The expression {expression!r} uses {error.args[0]!r}, which is not a value of the cell; "
            f"there are: {', '.join(sorted(names))}."
        ) from error
    except (ArithmeticError, TypeError, ValueError) as error:
        raise SweepError(f"The expression {expression!r} cannot be computed: {error}.") from error


def _value(node: ast.expr, names: Mapping[str, Any], functions: Functions) -> Any:
    def value(of: ast.expr) -> Any:
        return _value(of, names, functions)

    match node:
        case ast.Constant(value=int() | float() | str() | None as constant):
            return constant
        case ast.Name(id=name):
            return names[name]
        case ast.BinOp(left=left, op=ast.Pow(), right=right):
            return math.pow(value(left), value(right))  # floats: 9**9**9 is an error, not an hour
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            return _BINARY[type(op)](value(left), value(right))
        case ast.UnaryOp(op=op, operand=operand) if type(op) in _UNARY:
            return _UNARY[type(op)](value(operand))
        case ast.BoolOp(op=op, values=values):
            return (all if isinstance(op, ast.And) else any)(value(v) for v in values)
        case ast.Compare(left=left, ops=ops, comparators=rights):
            return _compare([value(one) for one in (left, *rights)], ops)
        case ast.IfExp(test=test, body=body, orelse=orelse):
            return value(body if value(test) else orelse)
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if name in functions:
            return functions[name](*(value(a) for a in args))
    raise ValueError(
        f"{ast.unparse(node)!r} is not understood; use numbers, names and {', '.join(functions)}"
    )


def _compare(values: list[Any], ops: list[ast.cmpop]) -> bool:
    pairs = zip(ops, values, values[1:], strict=False)
    return all(
        _membership(op, a, b) if type(op) not in _COMPARE else _COMPARE[type(op)](a, b) for op, a, b in pairs
    )


def _membership(op: ast.cmpop, a: Any, b: Any) -> bool:
    raise ValueError(f"the comparison {type(op).__name__} is not understood; use < <= > >= == !=")
