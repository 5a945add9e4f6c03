"""The paper's figures, from the tables and the fits."""

from fit.views.figures.gallery import FIGURES, make

__all__ = ["FIGURES", "make"]
