"""The paper's figures from tables and fits: `FIGURES`, by name; `make` writes them, `on` draws one on any axes."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fit.views.figures.gallery import FIGURES as FIGURES
    from fit.views.figures.gallery import make as make
    from fit.views.figures.gallery import on as on

# Known without importing matplotlib, for `saescale figures --help`; a test compares them with FIGURES and STYLES.
FIGURE_NAMES = (
    "fig1 l_n l_nk l_c curves activations lr subjects tokens batch dead ablations latents large_run random_data optima "
    "isoflop budgets lr_ratio regimes residuals profiles"
).split()
STYLE_NAMES = ("paper", "talk")
# The texts of a figure that `make` and `saescale figures --set` may replace.
TEXTS = ("title", "xlabel", "ylabel")

__all__ = ["FIGURES", "FIGURE_NAMES", "STYLE_NAMES", "TEXTS", "make", "on"]  # noqa: F822


def __getattr__(name: str) -> Any:
    if name not in ("FIGURES", "make", "on"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.gallery"), name)
