"""Numbers that carry their first and second derivatives through numpy's functions: exact slopes and curvature.

A function of p parameters needs p(p + 1)/2 + p evaluations with complex numbers for its curvature, nearly all of them
powers and exponentials. With jets it is evaluated once: each operation applies the chain rule to the derivatives by the
few parameters that reach it. A jet knows the functions in `RULES`; for any other numpy raises TypeError, and the caller
takes complex steps.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Slopes = dict[int, Array]
Curvature = dict[tuple[int, int], Array]


class Jet:
    """A value with its derivatives. first: ∂v/∂ν_a by a; second: ∂²v/∂ν_a∂ν_b by (a, b), a ≤ b; absent ones are 0."""

    __slots__ = ("first", "second", "value")
    # Comparisons are of values, so a jet has no hash, as an array has none.
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, value: Array, first: Slopes | None = None, second: Curvature | None = None) -> None:
        self.value, self.first, self.second = value, first or {}, second or {}

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        if method != "__call__" or options:
            return NotImplemented
        if ufunc in COMPARISONS:
            return ufunc(*(_value(one) for one in inputs))
        rule = RULES.get(ufunc)
        return NotImplemented if rule is None else rule(*inputs)

    def __array_function__(self, function: Any, types: Any, args: Any, options: Any) -> Any:
        if function is np.where and len(args) == 3 and not options:
            return _selected(_value(args[0]), args[1], args[2])
        return NotImplemented

    def __add__(self, other: Any) -> "Jet":
        return _add(self, other)

    def __mul__(self, other: Any) -> "Jet":
        return _multiply(self, other)

    def __sub__(self, other: Any) -> "Jet":
        return _add(self, _negative(other))

    def __rsub__(self, other: Any) -> "Jet":
        return _add(other, _negative(self))

    def __truediv__(self, other: Any) -> "Jet":
        return _divide(self, other)

    def __rtruediv__(self, other: Any) -> "Jet":
        return _divide(other, self)

    def __pow__(self, other: Any) -> "Jet":
        return _power(self, other)

    def __rpow__(self, other: Any) -> "Jet":
        return _power(other, self)

    def __neg__(self) -> "Jet":
        return _negative(self)

    def __pos__(self) -> "Jet":
        return self

    def __lt__(self, other: Any) -> Any:
        return self.value < _value(other)

    def __le__(self, other: Any) -> Any:
        return self.value <= _value(other)

    def __gt__(self, other: Any) -> Any:
        return self.value > _value(other)

    def __ge__(self, other: Any) -> Any:
        return self.value >= _value(other)

    __radd__, __rmul__ = __add__, __mul__


def _value(one: Any) -> Any:
    return one.value if isinstance(one, Jet) else one


def _jet(one: Any) -> Jet:
    return one if isinstance(one, Jet) else Jet(np.asarray(one))


def _summed(one: dict[Any, Array], other: dict[Any, Array]) -> dict[Any, Array]:
    both = dict(one)
    for key, value in other.items():
        both[key] = both[key] + value if key in both else value
    return both


def _products(one: Slopes, other: Slopes, factor: Any = 1.0) -> Curvature:
    """factor·(∂_a u ∂_b w + ∂_b u ∂_a w) for a < b, and ∂_a u ∂_a w once for each of the two at a = b."""
    made: Curvature = {}
    for a, u in one.items():
        for b, w in other.items():
            key = (a, b) if a <= b else (b, a)
            part = factor * u * w * (2.0 if a == b else 1.0)
            made[key] = made[key] + part if key in made else part
    return made


def _scaled(derivatives: dict[Any, Array], factor: Any) -> dict[Any, Array]:
    return {key: factor * value for key, value in derivatives.items()}


def _add(one: Any, other: Any) -> Jet:
    u, w = _jet(one), _jet(other)
    return Jet(u.value + w.value, _summed(u.first, w.first), _summed(u.second, w.second))


def _negative(one: Any) -> Any:
    return (
        Jet(-one.value, _scaled(one.first, -1.0), _scaled(one.second, -1.0)) if isinstance(one, Jet) else -one
    )


def _multiply(one: Any, other: Any) -> Jet:
    u, w = _jet(one), _jet(other)
    first = _summed(_scaled(u.first, w.value), _scaled(w.first, u.value))
    second = _summed(_scaled(u.second, w.value), _scaled(w.second, u.value))
    return Jet(u.value * w.value, first, _summed(second, _products(u.first, w.first)))


def _applied(one: Any, value: Array, slope: Array, curvature: Array) -> Jet:
    """φ(u), for φ, φ' and φ'' at the value of u."""
    u = _jet(one)
    second = _summed(_scaled(u.second, slope), _products(u.first, u.first, 0.5 * curvature))
    return Jet(value, _scaled(u.first, slope), second)


def _divide(one: Any, other: Any) -> Jet:
    if not isinstance(other, Jet):
        return _multiply(one, 1.0 / np.asarray(other))
    inverse = 1.0 / other.value
    return _multiply(one, _applied(other, inverse, -(inverse**2), 2 * inverse**3))


def _power(one: Any, other: Any) -> Jet:
    if isinstance(other, Jet):
        return _exp(_multiply(other, _log(one)))
    v, c = one.value, np.asarray(other)
    return _applied(one, v**c, c * v ** (c - 1), c * (c - 1) * v ** (c - 2))


def _exp(one: Any) -> Jet:
    value = np.exp(one.value)
    return _applied(one, value, value, value)


def _log(one: Any) -> Any:
    if not isinstance(one, Jet):
        return np.log(one)
    return _applied(one, np.log(one.value), 1 / one.value, -1 / one.value**2)


def _unary(function: Callable[[Array], tuple[Array, Array, Array]]) -> Callable[[Any], Jet]:
    return lambda one: _applied(one, *function(one.value))


def _tanh(v: Array) -> tuple[Array, Array, Array]:
    t = np.tanh(v)
    return t, 1 - t**2, -2 * t * (1 - t**2)


def _sqrt(v: Array) -> tuple[Array, Array, Array]:
    root = np.sqrt(v)
    return root, 0.5 / root, -0.25 / root**3


def _selected(chosen: Any, one: Any, other: Any) -> Jet:
    """The parts of one jet where `chosen`, of another elsewhere."""
    u, w = _jet(one), _jet(other)
    zero = np.zeros(1)

    def parts(a: dict[Any, Array], b: dict[Any, Array]) -> dict[Any, Array]:
        return {key: np.where(chosen, a.get(key, zero), b.get(key, zero)) for key in {**a, **b}}

    return Jet(np.where(chosen, u.value, w.value), parts(u.first, w.first), parts(u.second, w.second))


COMPARISONS = {
    np.less,
    np.less_equal,
    np.greater,
    np.greater_equal,
    np.equal,
    np.not_equal,
    np.isfinite,
    np.isnan,
}
RULES: dict[np.ufunc, Callable[..., Any]] = {
    np.add: _add,
    np.subtract: lambda one, other: _add(one, _negative(other)),
    np.multiply: _multiply,
    np.divide: _divide,
    np.power: _power,
    np.float_power: _power,
    np.negative: _negative,
    np.positive: lambda one: one,
    np.reciprocal: lambda one: _divide(1.0, one),
    np.square: lambda one: _multiply(one, one),
    np.exp: _exp,
    np.log: _log,
    np.sqrt: _unary(_sqrt),
    np.tanh: _unary(_tanh),
    np.exp2: _unary(lambda v: (np.exp2(v), np.log(2) * np.exp2(v), np.log(2) ** 2 * np.exp2(v))),
    np.expm1: _unary(lambda v: (np.expm1(v), np.exp(v), np.exp(v))),
    np.log1p: _unary(lambda v: (np.log1p(v), 1 / (1 + v), -1 / (1 + v) ** 2)),
    np.log2: _unary(lambda v: (np.log2(v), 1 / v / np.log(2), -1 / v**2 / np.log(2))),
    np.log10: _unary(lambda v: (np.log10(v), 1 / v / np.log(10), -1 / v**2 / np.log(10))),
    np.minimum: lambda one, other: _selected(_value(one) <= _value(other), one, other),
    np.maximum: lambda one, other: _selected(_value(one) >= _value(other), one, other),
}
