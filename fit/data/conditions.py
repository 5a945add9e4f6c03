"""The language of conditions and derived values, for one row (a run, a grid cell) or for all rows of a table.

`k in [16, 32] and n_latents >= 4 * sqrt(k)` is a condition; `2e-3 * sqrt(1024 / n_latents)` is a derived value. The
grammar is a subset of Python's. Names are columns, in backticks where they have spaces: `` `my loss` < 0.2 ``.

Missing values: a comparison, an operation or a function with a missing operand is itself missing, and so is a result
that does not exist, such as 1 / 0 or log(-1). A condition that is missing does not hold, so that `not k == 32` leaves
out rows without k. `k is missing` and `k is not missing` test for it.

Numbers are Python's: integers are exact, so that a product of two columns cannot overflow.

An expression is data, never code. It can call only the functions listed here and those that the caller adds, and it
cannot use attributes, subscripts, lambdas or comprehensions. Its length and depth are bounded, and ** gives a float, so
that 9**9**9 is an error instead of an hour of work. simpleeval evaluates it by walking over the syntax tree, and
accepts only the listed kinds of nodes; asteval is a whole interpreter, from which parts would have to be removed.

The filter box of the report accepts the same language, with the same errors: `fit/views/page/conditions.js`.
"""

import ast
import math
import operator
import re
import warnings
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from simpleeval import InvalidExpression, SimpleEval

from fit.data.near_names import did_you_mean
from fit.law.errors import FitError

if TYPE_CHECKING:  # one row needs no pandas, which takes half a second to import
    import pandas as pd

Row = Mapping[str, Any]
Functions = Mapping[str, Callable[..., Any]]

MOST_CHARACTERS = 10_000
MOST_LEVELS = 100  # of nested operations; Python's own limit on recursion is 1,000 calls

# Name: the function, and the fewest and the most arguments it takes.
FUNCTIONS: dict[str, tuple[Callable[..., Any], int, float]] = {
    "abs": (abs, 1, 1),
    "ceil": (math.ceil, 1, 1),
    "exp": (math.exp, 1, 1),
    "float": (float, 1, 1),
    "floor": (math.floor, 1, 1),
    "int": (int, 1, 1),
    "log": (math.log, 1, 1),
    "log10": (math.log10, 1, 1),
    "log2": (math.log2, 1, 1),
    "max": (lambda *x: max(x), 1, math.inf),
    "min": (lambda *x: min(x), 1, math.inf),
    "round": (lambda x, digits=0: _rounded(x, digits), 1, 2),
    "sqrt": (math.sqrt, 1, 1),
}
_ARITHMETIC: dict[type[ast.AST], tuple[str, Callable[[Any, Any], Any]]] = {
    ast.Add: ("+", operator.add),
    ast.Sub: ("-", operator.sub),
    ast.Mult: ("*", operator.mul),
    ast.Div: ("/", operator.truediv),
    ast.FloorDiv: ("//", operator.floordiv),
    ast.Mod: ("%", operator.mod),
    ast.Pow: ("**", math.pow),
}
_ORDER: dict[type[ast.AST], tuple[str, Callable[[Any, Any], bool]]] = {
    ast.Lt: ("<", operator.lt),
    ast.LtE: ("<=", operator.le),
    ast.Gt: (">", operator.gt),
    ast.GtE: (">=", operator.ge),
}
_WORDS = {"missing": None, "true": True, "false": False}  # beside Python's None, True and False
# A text in quotes, a column in backticks, or what may not stand outside of them; only the first two match whole.
_QUOTED = re.compile(r"""'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*"|`([^`]*)`|[#\\`;]|(?<![=<>!:])=(?!=)""")


class _CannotCompute(Exception):
    """Why an expression has no value; becomes the end of a sentence."""


@dataclass(frozen=True)
class _Parsed:
    text: str
    body: ast.expr
    columns: Mapping[str, str]  # identifier in the tree: column in backticks
    names: frozenset[str]  # columns
    calls: frozenset[str]  # functions


def holds(text: str, row: Row) -> bool:
    """Return whether a condition is true of one row. FitError for what is not a condition on its columns."""
    return _checked(text, row.keys(), strict=False).truth(row)


def columns_of(text: str) -> frozenset[str]:
    """The columns that an expression names. FitError if it is not understood."""
    return _evaluator(text, False).parsed.names


def compared_with_numbers(text: str) -> frozenset[str]:
    """The columns that an expression compares with numbers or computes with, and with no text."""
    parsed = _evaluator(text, False).parsed
    names: set[str] = set()
    for node in ast.walk(parsed.body):
        if isinstance(node, ast.Compare):
            parts = list(ast.walk(node))
            constants = [part.value for part in parts if isinstance(part, ast.Constant)]
            numbers = any(isinstance(each, int | float) and not isinstance(each, bool) for each in constants)
            if numbers and not any(isinstance(each, str) for each in constants):
                names |= {
                    parsed.columns.get(part.id, part.id) for part in parts if isinstance(part, ast.Name)
                }
    return frozenset(names & parsed.names)


def mask(text: str, table: "pd.DataFrame") -> np.ndarray:
    """Return for which rows of a table a condition is true, as booleans. Errors as in `holds`.

    Rows are evaluated one by one, those with the same cells once: 100,000 rows that all differ take 1 to 2 s.
    """
    columns = {str(name): name for name in table.columns}
    evaluator = _checked(text, columns, strict=False)
    used = sorted(evaluator.parsed.names)
    cells = [_cells(table[columns[name]]) for name in used]
    truths: dict[
        tuple[Any, ...], bool
    ] = {}  # of rows met before: a row of its own costs 10 us, one of these 0.1
    rows: list[tuple[Any, ...]] = list(zip(*cells, strict=True)) if cells else [()] * len(table)
    for row in rows:
        if row not in truths:
            truths[row] = evaluator.truth(dict(zip(used, row, strict=True)))
    return np.array([truths[row] for row in rows], dtype=bool)


def value(text: str, row: Row, functions: Functions | None = None) -> Any:
    """Return the value of an expression over one row.

    Here a missing operand and a result that does not exist are errors, because a config needs a value.

    Parameters
    ----------
    text
        The expression, as `2e-3 * sqrt(1024 / n_latents)`.
    row
        The value of each column that it may name.
    functions
        What it may call in addition to `FUNCTIONS`; these take any arguments.

    Raises
    ------
    FitError
        The expression is not understood, names what is not there, or has no value.
    """
    return _checked(text, row.keys(), strict=True, functions=functions or {}).result(row)


def _cells(column: "pd.Series") -> list[Any]:
    """The cells of a column as Python's own types, None where one is missing; lists and the like as text."""
    missing = column.isna().tolist()
    cells = [None if absent else cell for absent, cell in zip(missing, column.tolist(), strict=True)]
    return [cell if isinstance(cell, Hashable) else str(cell) for cell in cells]


def _checked(
    text: str, columns: Collection[str], strict: bool, functions: Functions = MappingProxyType({})
) -> "_Evaluator":
    """What evaluates the text. FitError if it names a column or calls a function that is not there."""
    evaluator = _evaluator(text, strict)
    for name in sorted(evaluator.parsed.calls - FUNCTIONS.keys() - functions.keys()):
        known = sorted([*FUNCTIONS, *functions])
        raise FitError(
            f"{text!r} calls {name}, which is not a function here: only {', '.join(known)} can be called."
            f"{did_you_mean(name, known)}"
        )
    for name in sorted(name for name in evaluator.parsed.names if name not in columns):
        near = did_you_mean(name, columns) or f" There are {', '.join(map(str, columns))}."
        raise FitError(f"{text!r} names {name}, which is not a column here (text needs quotes).{near}")
    evaluator.functions = dict(functions)
    return evaluator


@lru_cache(maxsize=512)
def _evaluator(text: str, strict: bool) -> "_Evaluator":
    """Making one takes 20 us, ten times as long as a short condition; a grid evaluates the same few 10,000 times."""
    return _Evaluator(_parsed(text), strict)


def _parsed(text: str) -> _Parsed:
    """The expression as a syntax tree of allowed nodes."""
    if len(text) > MOST_CHARACTERS:
        _too_long(text)
    prefix = "column" + "_" * (1 + max(map(len, re.findall("_+", text)), default=0))
    backticked: dict[str, str] = {}  # column name: the identifier that stands for it

    def replacement(match: re.Match[str]) -> str:
        token = match[0]
        if token == "=":
            raise FitError(f"{text!r} has a single =: write == to compare.")
        if token[0] in "\"'":
            return token
        if not match[1]:
            _not_understood(text)
        return f" {backticked.setdefault(match[1], f'{prefix}{len(backticked)}')} "

    source = " ".join(_QUOTED.sub(replacement, text).split("\n")).strip()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python's own, as for '\\o' in a text
            body = ast.parse(source, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        _not_understood(text)
    return _Walk(text, {identifier: name for name, identifier in backticked.items()}).parsed(body)


class _Walk:
    """Checks every node of a syntax tree and collects the names in it."""

    def __init__(self, text: str, columns: Mapping[str, str]) -> None:
        self.text, self.columns = text, columns
        self.names: set[str] = set()
        self.calls: set[str] = set()

    def parsed(self, body: ast.expr) -> _Parsed:
        self.check(body, 1)
        return _Parsed(self.text, body, self.columns, frozenset(self.names), frozenset(self.calls))

    def check(self, node: ast.AST, level: int) -> None:
        """Refuse a node that is not of this language, or nested too deep."""
        if level > MOST_LEVELS:
            _too_long(self.text)
        for child in self.children(node):
            self.check(child, level + 1)

    def children(self, node: ast.AST) -> Sequence[ast.expr]:
        """The operands of an allowed node."""
        match node:
            case ast.Constant(value=bool() | int() | float() | str() | None):
                return []
            case ast.Name(id=name):
                if name not in _WORDS:
                    self.names.add(self.columns.get(name, name))
                return []
            case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name not in self.columns:
                self.calls.add(name)
                return arguments
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
                return [left, right]
            case ast.UnaryOp(op=ast.USub() | ast.UAdd() | ast.Not(), operand=operand):
                return [operand]
            case ast.BoolOp(values=operands):
                return operands
            case ast.IfExp(test=test, body=body, orelse=other):
                return [body, test, other]
            case ast.Compare():
                return self.compared(node)
        _not_understood(self.text)

    def compared(self, node: ast.Compare) -> list[ast.expr]:
        """The operands of a chain of comparisons: a list stands after `in` alone, and `missing` alone after `is`."""
        operands = [node.left]
        for op, right in zip(node.ops, node.comparators, strict=True):
            listed = right.elts if isinstance(right, ast.List | ast.Tuple) else None
            if isinstance(op, ast.In | ast.NotIn) != (listed is not None):
                _not_understood(self.text)
            if isinstance(op, ast.Is | ast.IsNot) and not _is_missing(right):
                _not_understood(self.text)
            if listed is not None and right is not node.comparators[-1]:
                _not_understood(self.text)
            operands += [right] if listed is None else listed
        return operands


def _is_missing(node: ast.expr) -> bool:
    """Whether a node is the word `missing`, or Python's None for it."""
    return (isinstance(node, ast.Name) and node.id == "missing") or (
        isinstance(node, ast.Constant) and node.value is None
    )


class _Evaluator(SimpleEval):
    """simpleeval with three truth values (None for missing) over numbers and texts.

    strict: a missing operand is an error, as in `value`.
    """

    def __init__(self, parsed: _Parsed, strict: bool) -> None:
        super().__init__(operators={}, functions={}, names={})
        self.parsed, self.strict = parsed, strict
        self.nodes = {
            ast.Constant: lambda node: node.value,
            ast.Name: self._eval_name,
            ast.List: self._eval_list,
            ast.Tuple: self._eval_list,
            ast.BinOp: self._eval_binop,
            ast.UnaryOp: self._eval_unaryop,
            ast.BoolOp: self._eval_boolop,
            ast.Compare: self._eval_compare,
            ast.IfExp: self._eval_ifexp,
            ast.Call: self._eval_call,
        }

    def result(self, row: Row) -> Any:
        """The value over one row. FitError where there is none."""
        self.names = row
        try:
            return self._eval(self.parsed.body)
        except (_CannotCompute, InvalidExpression, ArithmeticError, TypeError, ValueError) as error:
            raise FitError(f"{self.parsed.text!r} cannot be computed: {str(error).rstrip('.')}.") from error

    def truth(self, row: Row) -> bool:
        """Whether the condition is true of one row; missing is not."""
        outcome = self.result(row)
        if outcome is None or isinstance(outcome, bool):
            return bool(outcome)
        raise FitError(f"{self.parsed.text!r} is not true or false: compare a column, as k == 32.")

    def _eval_name(self, node: ast.Name) -> Any:
        if node.id in _WORDS:
            return _WORDS[node.id]
        cell = self.names[self.parsed.columns.get(node.id, node.id)]
        if isinstance(cell, np.generic):
            cell = cell.item()
        return None if isinstance(cell, float) and math.isnan(cell) else cell

    def _eval_list(self, node: ast.List | ast.Tuple) -> list[Any]:
        return [self._eval(element) for element in node.elts]

    def _eval_binop(self, node: ast.BinOp) -> Any:
        symbol, operation = _ARITHMETIC[type(node.op)]
        return self._computed(symbol, operation, [self._eval(node.left), self._eval(node.right)])

    def _eval_unaryop(self, node: ast.UnaryOp) -> Any:
        operand = self._eval(node.operand)
        if isinstance(node.op, ast.Not):
            return None if self._truth(operand) is None else not operand
        sign = operator.neg if isinstance(node.op, ast.USub) else operator.pos
        return self._computed("-" if isinstance(node.op, ast.USub) else "+", sign, [operand])

    def _eval_boolop(self, node: ast.BoolOp) -> bool | None:
        """Kleene's and, or: `false and missing` is false, `true and missing` is missing."""
        decisive = isinstance(node.op, ast.Or)
        outcome: bool | None = not decisive
        for operand in node.values:
            truth = self._truth(self._eval(operand))
            if truth is decisive:
                return decisive
            if truth is None:
                outcome = None
        return outcome

    def _eval_compare(self, node: ast.Compare) -> bool | None:
        """A chain of comparisons: all of them, as with `and`."""
        outcome: bool | None = True
        left_node, left = node.left, self._eval(node.left)
        for op, right_node in zip(node.ops, node.comparators, strict=True):
            right = self._eval(right_node)
            if isinstance(op, ast.Eq | ast.NotEq | ast.Is | ast.IsNot) and (
                _is_missing(left_node) or _is_missing(right_node)
            ):
                truth: bool | None = (left is None and right is None) == isinstance(op, ast.Eq | ast.Is)
            else:
                truth = self._compared(op, left, right)
            if truth is False:
                return False
            if truth is None:
                outcome = None
            left_node, left = right_node, right
        return outcome

    def _compared(self, op: ast.cmpop, left: Any, right: Any) -> bool | None:
        if isinstance(op, ast.In | ast.NotIn):
            if self._lacks("in", [left]):
                return None
            if any(left == element for element in right):
                return isinstance(op, ast.In)
            return None if None in right else isinstance(op, ast.NotIn)
        if isinstance(op, ast.Eq | ast.NotEq):
            if self._lacks("==", [left, right]):
                return None
            return bool(left == right) == isinstance(op, ast.Eq)
        symbol, ordered = _ORDER[type(op)]
        if self._lacks(symbol, [left, right]):
            return None
        try:
            return bool(ordered(left, right))
        except TypeError as error:
            raise _CannotCompute(f"{_said(left)} and {_said(right)} have no order") from error

    def _eval_ifexp(self, node: ast.IfExp) -> Any:
        truth = self._truth(self._eval(node.test))
        if truth is None:
            return None
        return self._eval(node.body if truth else node.orelse)

    def _eval_call(self, node: ast.Call) -> Any:
        assert isinstance(node.func, ast.Name)
        name, arguments = node.func.id, [self._eval(argument) for argument in node.args]
        if name in self.functions:
            return self.functions[name](*arguments)
        function, fewest, most = FUNCTIONS[name]
        if not fewest <= len(arguments) <= most:
            count = (
                f"{fewest} or more"
                if most == math.inf
                else f"{fewest} to {most}"
                if most > fewest
                else fewest
            )
            raise _CannotCompute(
                f"{name} takes {count} argument{'' if count == 1 else 's'}, not {len(arguments)}"
            )
        return self._computed(name, function, arguments)

    def _computed(self, name: str, operation: Callable[..., Any], operands: list[Any]) -> Any:
        """An operation on numbers; missing where it has no result, an error where the result is too large."""
        if self._lacks(name, operands):
            return None
        for operand in operands:
            if not isinstance(operand, int | float):
                raise _CannotCompute(f"{name} takes numbers, not {_said(operand)}")
        operands = [int(operand) if isinstance(operand, bool) else operand for operand in operands]
        try:
            outcome = operation(*operands)
        except OverflowError as error:
            raise _CannotCompute("a number becomes too large") from error
        except (ZeroDivisionError, ValueError) as error:
            return self._undefined(name, operands, error)
        if isinstance(outcome, float) and not math.isfinite(outcome) and all(map(math.isfinite, operands)):
            raise _CannotCompute("a number becomes too large")
        return self._undefined(name, operands) if outcome != outcome else outcome

    def _undefined(self, name: str, operands: list[Any], cause: Exception | None = None) -> None:
        if self.strict:
            raise _CannotCompute(f"{name} is not defined for {' and '.join(map(_said, operands))}") from cause

    def _lacks(self, name: str, operands: list[Any]) -> bool:
        """Whether an operand is missing."""
        lacking = any(operand is None for operand in operands)
        if lacking and self.strict:
            raise _CannotCompute(f"an operand of {name} is missing")
        return lacking

    def _truth(self, operand: Any) -> bool | None:
        if operand is None and self.strict:
            raise _CannotCompute("whether a condition in it holds is missing")
        if operand is None or isinstance(operand, bool):
            return operand
        raise _CannotCompute(f"{_said(operand)} is not true or false: compare it, as k == 32")


def _said(operand: Any) -> str:
    """A value in an error sentence: texts in quotes, whole numbers without a point."""
    if isinstance(operand, float) and operand.is_integer() and abs(operand) < 1e15:
        return str(int(operand))
    return repr(operand) if isinstance(operand, str) else str(operand)


def _rounded(number: float, digits: int = 0) -> float:
    """Python's round, which is exact at any number of digits and would take hours at -10**9."""
    if not -400 < digits < 400 or int(digits) != digits:
        raise _CannotCompute("round takes a whole number of digits between -400 and 400")
    return round(number, int(digits)) if digits else round(number)


def _not_understood(text: str) -> NoReturn:
    raise FitError(
        f"{text!r} is not understood: write columns, numbers, texts in quotes, + - * / // % **, comparisons, in [...], "
        f"is missing, and, or, not, a if c else b, and calls of {', '.join(FUNCTIONS)}, as in "
        "k == 32 and n_latents > 512."
    )


def _too_long(text: str) -> NoReturn:
    raise FitError(
        f"{text[:40]!r}... is too long: at most {MOST_CHARACTERS:,} characters and {MOST_LEVELS} levels of nesting."
    )
