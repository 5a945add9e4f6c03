"""Draws every figure that has its data, and says in one line for each of the others which data it needs."""

import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from fit.data import files
from fit.law.errors import FitError
from fit.study.study_tables import StudyTables
from fit.views.figures import (
    ablations,
    activations,
    dead,
    isoflop,
    lr,
    optima,
    profiles,
    residuals,
)
from fit.views.figures import curves as curves_figure
from fit.views.figures import latents as latents_figure
from fit.views.figures.laws import by_subject as subjects
from fit.views.figures.laws import fig1, l_c, l_n, l_nk, large_run, random_data, tokens
from fit.views.figures.regimes import batch, budgets, losses, lr_ratio
from fit.views.figures.shared import style as styles
from fit.views.figures.shared.captions import Caption
from fit.views.figures.shared.style import Style


class FigureModule(Protocol):
    """What each figure's module offers: its numbers from a study, and its drawing and caption from the numbers.

    `on` draws a panel on any axes.
    """

    def numbers(self, study: StudyTables) -> pd.DataFrame: ...

    @property
    def on(self) -> Callable[..., None]: ...

    def draw(self, table: pd.DataFrame, study: StudyTables, style: str | Style = "paper") -> Figure: ...

    def caption(self, table: pd.DataFrame, study: StudyTables) -> Caption: ...


FIGURES: dict[str, FigureModule] = {
    "fig1": fig1,
    "l_n": l_n,
    "l_nk": l_nk,
    "l_c": l_c,
    "curves": curves_figure,
    "activations": activations,
    "lr": lr,
    "subjects": subjects,
    "tokens": tokens,
    "batch": batch,
    "dead": dead,
    "ablations": ablations,
    "latents": latents_figure,
    "large_run": large_run,
    "random_data": random_data,
    "optima": optima,
    "isoflop": isoflop,
    "budgets": budgets,
    "lr_ratio": lr_ratio,
    "regimes": losses,
    "residuals": residuals,
    "profiles": profiles,
}


def make(
    study: StudyTables,
    out: Path | str,
    only: Sequence[str] | None = None,
    style: str | Style = "paper",
    say: Callable[[str], None] = print,
    texts: Mapping[str, str] | None = None,
    at: Callable[[str], None] = lambda name: None,
) -> list[Path]:
    """Write each figure as PDF, PNG and CSV, with its caption as Markdown and LaTeX, and return the paths written.

    Parameters
    ----------
    study : the tables and, if there are any, their fits.
    out : the folder, which is created if needed.
    only : names of `FIGURES`; by default all figures.
    style : the name of one of `STYLES`, or a look that `shared.style.changed` made.
    say : is called with one line for each file written and for each figure that could not be drawn; such a figure does
        not stop the others.
    texts : texts that replace those of the figure: title, xlabel, ylabel.
    at : is called with the name of each figure before it is drawn.

    Raises
    ------
    FitError
        For an unknown figure or style.
    """
    look = styles.named(style)
    written: list[Path] = []
    for name in _chosen(only):
        at(name)
        try:
            module = FIGURES[name]
            table = module.numbers(study)
            figure = module.draw(table, study, look)
            _write_texts(figure, texts or {}, look)
            paths = save(figure, table, Path(out), name, look, module.caption(table, study))
        except FitError as error:
            say(f"{name} skipped: {error}")
        except Exception as error:  # an unexpected table can break one figure in ways not foreseen here
            say(f"{name} skipped: it failed with {type(error).__name__}: {' '.join(str(error).split())}")
        else:
            written += paths
            for path in paths:
                say(f"wrote {path}")
    return written


def on(ax: Axes, name: str, study: StudyTables, **panel: Any) -> pd.DataFrame:
    """Draw a panel of a figure on axes of one's own layout, and return the figure's table.

    Parameters
    ----------
    ax : any axes; sizes of text and lines are those of matplotlib's parameters, see `shared.style.rc_params`.
    name : the name of one of `FIGURES`.
    study : the tables and their fits.
    panel : what the figure's own `on` takes, such as panel="k = 32", or regime="converged" for `batch`.

    Raises
    ------
    FitError
        If the study lacks what the figure needs, or there is no such figure.
    """
    module = FIGURES[_chosen([name])[0]]
    table = module.numbers(study)
    module.on(ax, table, study, **panel)
    return table


def _write_texts(figure: Figure, texts: Mapping[str, str], look: Style) -> None:
    """Replace the title and the axis labels of a figure."""
    with styles.applied(look):
        for key, text in texts.items():
            if key == "title":
                figure.suptitle(text, fontsize=look.font)
            for ax in figure.axes:
                if key == "xlabel" and ax.get_xlabel():
                    ax.set_xlabel(text)
                elif key == "ylabel" and ax.get_ylabel():
                    ax.set_ylabel(text)


def _chosen(only: Sequence[str] | None) -> Sequence[str]:
    unknown = [name for name in only or () if name not in FIGURES]
    if unknown:
        raise FitError(f"There is no figure {unknown[0]!r}: choose among {', '.join(FIGURES)}.")
    return [name for name in FIGURES if not only or name in only]


def rendered(figure: Figure, style: str | Style = "paper") -> dict[str, bytes]:
    """The bytes of the figure under the keys "pdf" and "png", without dates or program names in their metadata."""
    pdf, png = io.BytesIO(), io.BytesIO()
    with styles.applied(style) as look:
        FigureCanvasAgg(figure)
        figure.savefig(pdf, format="pdf", metadata={"CreationDate": None})
        figure.savefig(png, format="png", dpi=look.dpi, metadata={"Software": None})
    return {"pdf": pdf.getvalue(), "png": png.getvalue()}


def save(
    figure: Figure,
    numbers: pd.DataFrame,
    out: Path,
    name: str,
    style: str | Style = "paper",
    caption: Caption | None = None,
) -> list[Path]:
    """Write out/name.pdf, .png, .csv (the plotted numbers in full precision), .md and .tex (the caption)."""
    contents = rendered(figure, style) | {"csv": numbers.to_csv(index=False).encode()}
    if caption is not None:
        contents |= {"md": caption.markdown().encode(), "tex": caption.latex().encode()}
    return [files.write(out / f"{name}.{kind}", content) for kind, content in contents.items()]
