"""Laws and their fit to arrays: `fit_law` fits one, `Law` or `function_law` writes one, `named` finds one by name."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fit.law.errors import FitError as FitError
    from fit.law.fit import fit_law as fit_law
    from fit.law.function.smooth import function_law as function_law
    from fit.law.law import Derived as Derived
    from fit.law.law import Law as Law
    from fit.law.law import Term as Term
    from fit.law.laws import LAWS as LAWS
    from fit.law.laws import named as named
    from fit.law.laws import register as register
    from fit.law.result import FitResult as FitResult

_HOME = {
    "FitError": "errors",
    "fit_law": "fit",
    "function_law": "function.smooth",
    **dict.fromkeys(("Derived", "Law", "Term"), "law"),
    **dict.fromkeys(("LAWS", "named", "register"), "laws"),
    "FitResult": "result",
}
__all__ = list(_HOME)  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    # On first use: a plan that reads a law's value need not wait half a second for scipy.
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
