"""The paper's figures, from the tables and the fits: `FIGURES`, by name, and `make`, which draws and writes them."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fit.views.figures.gallery import FIGURES as FIGURES
    from fit.views.figures.gallery import make as make

# Known without importing matplotlib, for `saescale figures --help`; a test compares them with FIGURES and STYLES.
FIGURE_NAMES = (
    "l_n l_nk l_c curves activations lr subjects tokens batch dead ablations latents large_run random_data optima "
    "isoflop budgets lr_ratio regimes residuals profiles"
).split()
STYLE_NAMES = ("paper", "talk")

__all__ = ["FIGURES", "FIGURE_NAMES", "STYLE_NAMES", "make"]  # noqa: F822


def __getattr__(name: str) -> Any:
    if name not in ("FIGURES", "make"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.gallery"), name)
