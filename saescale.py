"""saescale in a notebook: `import saescale as ss`, with the steps of the command line as functions.

Nothing is computed here. Each function calls what its verb calls, and every result has a short `repr`, HTML for a
notebook, and the plain objects or DataFrames as attributes. Packages are imported when a function needs them.

Examples
--------
>>> import saescale as ss
>>> small = ("sae.n_latents=32,64", "sae.k=4", "train.max_tokens=8192", "launcher=debug")
>>> plan = ss.plan("study=demo", "name=pilot", *small)
>>> plan
pilot: 2 runs = 2 n_latents; 0 already done, 2 to train
>>> plan.launch()
pilot: 2 runs = 2 n_latents; 0 already done, 2 to train
All 2 runs of pilot have their result in runs/pilot
runs/pilot: 2 done
>>> ss.collect("runs/pilot").runs[["n_latents", "k", "state"]].sort_values("n_latents").to_dict("list")
{'n_latents': [32, 64], 'k': [4, 4], 'state': ['done', 'done']}
"""

import base64
import io
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from fit.law.result import FitResult
    from fit.regimes.compare import Regimes
    from fit.study.answers.prediction import Predictions as Answers
    from fit.study.study_tables import StudyTables
    from fit.views.figures.shared.captions import Caption
    from sweeps.planning.plan import Plan as PhasePlan

__all__ = ["Fits", "Plan", "Plot", "Predictions", "Status", "Tables", "collect", "fit", "plan", "status"]
# Of a table of runs, what a reader looks for first.
_FIRST = ("run_id", "n_latents", "k", "lr", "batch_tokens", "state", "tokens", "nmse", "converged")
_ROWS = 30  # of a table in a notebook


def plan(*overrides: str) -> "Plan":
    """The plan of a study: its runs, which are done, and what the rest costs. Starts nothing, like `saescale plan`.

    Parameters
    ----------
    overrides : the study and its overrides in Hydra's grammar, as on the command line.

    Raises
    ------
    SweepError
        For an unknown key, a wrong value or an impossible run, in one sentence.

    Examples
    --------
    >>> ss.plan("study=demo", "train.lr=geom(1e-3,4e-3,2)")
    demo: 63 runs = 7 n_latents × 3 k × 3 lr; 0 already done, 63 to train
    """
    from sweeps.planning.phased import make_plans

    return Plan(overrides, tuple(make_plans(overrides)))


def status(study: Path | str) -> "Status":
    """The state of every run of a study, like `saescale status`.

    Parameters
    ----------
    study : its folder, as runs/demo, or the override that names it, as study=demo.

    Examples
    --------
    >>> ss.status("runs/pilot").runs[["n_latents", "state"]].sort_values("n_latents").to_dict("list")
    {'n_latents': [32, 64], 'state': ['done', 'done']}
    """
    from sweeps.dispatch.states import states_now
    from sweeps.verbs.arguments import find_study

    folder = find_study([str(study)])
    runs, text = states_now(folder)
    return Status(folder.path, runs, text)


def collect(study: Path | str) -> "Tables":
    """Rebuild the tables of a study from its run folders, like `saescale collect`, and return them.

    Parameters
    ----------
    study : its folder, as runs/demo, or the override that names it, as study=demo.

    Examples
    --------
    >>> ss.collect("runs/pilot")
    runs/pilot: 2 runs (2 done), 2 evaluations
    """
    from fit.study.study_tables import StudyTables
    from sweeps.verbs.arguments import find_study
    from sweeps.verbs.collect import rebuild

    folder = find_study([str(study)])
    rebuild(folder)
    return Tables(StudyTables.read(folder.path, with_fits=False))


def fit(
    table: "Tables | pd.DataFrame | Path | str",
    *laws: str | Sequence[str],
    curves: "pd.DataFrame | Path | str | None" = None,
    mapping: Mapping[str, str] | None = None,
    where: str | None = None,
    sheet: str | None = None,
    **options: Any,
) -> "Fits":
    """Fit scaling laws, like `saescale fit`; only `Fits.save` writes a file.

    Parameters
    ----------
    table : the outcome of `collect`, a DataFrame with one row per run, or the path of a table or a study's folder.
    laws : names of laws, as "L_N", "L_NK" or "L_N,L_NK"; by default every law that the table supports.
    curves : one row per evaluation; by default those of `collect`, or curves.parquet beside the table.
    mapping : our column names to those of the table, as {"nmse": "loss"}.
    where : which rows to use, as "k == 32 and n_latents > 512".
    sheet : of a workbook.
    options : as in `fit.law.options.FitOptions`, such as unconverged="extrapolate" or flops="dense".

    Raises
    ------
    FitError
        If no law could be fitted, or a column, law or file is unknown, in one sentence.

    Examples
    --------
    >>> from fit.datasets import load
    >>> fits = ss.fit(load("gao2024_gpt4_lnk"), "L_NK", mapping={"n_latents": "n"}, where="k < 200")
    >>> fits.results[0].rows
    27
    """
    from fit.law.options import FitOptions
    from fit.study.asked import check_mapped, law_names
    from fit.study.fitting import fit_study, prepared
    from fit.study.study_tables import StudyTables

    notes: list[str] = []
    chosen, wanted = FitOptions(**options), law_names(laws)
    check_mapped(mapping or {}, wanted, "mapping")
    if isinstance(table, Tables):
        read = table.tables
        if curves is not None or sheet is not None:
            raise TypeError("the tables of collect have their curves: give the table's path for other ones")
    elif isinstance(table, Path | str):
        named = curves if curves is None or isinstance(curves, Path | str) else None
        read = StudyTables.read(table, mapping, where, named, with_fits=False, sheet=sheet)
        mapping = where = None  # they have been applied
    else:
        read = StudyTables(runs=table, mapping=dict(mapping or {}))
    evaluations = read.curves if curves is None or isinstance(curves, Path | str) else curves
    assert read.runs is not None
    source = prepared(read.runs, evaluations, mapping, where, chosen, notes.append, read.as_read)
    fitted = fit_study(
        source.runs, source.curves, wanted or None, options=chosen, say=notes.append, as_read=source.as_read
    )
    tables = replace(
        read, runs=source.runs, curves=source.curves, fits=fitted.fits, regimes=fitted.regimes,
        where=source.where, as_read=replace(source.as_read, condition=source.where),
    )  # fmt: skip
    return Fits(tables, (*read.notes, *notes))


class _Result(ABC):
    """What a notebook shows: `_lines` as text; in HTML, `_frame` is a table below the first line."""

    @abstractmethod
    def _lines(self) -> Sequence[str]:
        """The lines of the result's text."""

    def _frame(self) -> "pd.DataFrame | None":
        return None

    def __repr__(self) -> str:
        return "\n".join(self._lines())

    def _repr_html_(self) -> str:
        first, *others = self._lines()
        frame = self._frame()
        table = "" if frame is None else frame.to_html(index=False, max_rows=_ROWS, na_rep="", border=0)
        return f"<p>{escape(first)}</p>{table}{''.join(f'<p>{escape(line)}</p>' for line in others)}"


@dataclass(frozen=True, repr=False)
class Plan(_Result):
    """A plan. phases: the plan of each phase, or the only one; overrides: as given."""

    overrides: tuple[str, ...]
    phases: "tuple[PhasePlan, ...]"

    @property
    def runs(self) -> "pd.DataFrame":
        """One row per run: its id, phase, what was varied or derived, its cost and its state."""
        import pandas as pd

        from sweeps.planning.table import run_rows

        return pd.DataFrame([row for phase in self.phases for row in run_rows(phase)])

    def launch(self, wait: bool = True) -> "Status":
        """Train the runs that have no result yet, like `saescale launch`, and return their states.

        Parameters
        ----------
        wait : follow the study to its end. With False, return when the workers or jobs have started; `ss.status`
            shows how far they are.
        """
        from sweeps.verbs.launch import launch_all

        launch_all(self.overrides, wait)
        return status(self.phases[-1].study.path)

    def _lines(self) -> Sequence[str]:
        from sweeps.planning.table import summary

        return [summary(phase) for phase in self.phases]

    def _frame(self) -> "pd.DataFrame":
        return self.runs


@dataclass(frozen=True, repr=False)
class Status(_Result):
    """The states of a study's runs. path: the study's folder; runs: one row per run; text: the counts."""

    path: Path
    runs: "pd.DataFrame"
    text: str

    def _lines(self) -> Sequence[str]:
        return self.text.splitlines()

    def _frame(self) -> "pd.DataFrame":
        return self.runs


@dataclass(frozen=True, repr=False)
class Tables(_Result):
    """The tables of a study under the column names of docs/reference/tables.md."""

    tables: "StudyTables"

    @property
    def runs(self) -> "pd.DataFrame":
        """One row per run; failed and pending runs have rows too."""
        assert self.tables.runs is not None
        return self.tables.runs

    @property
    def curves(self) -> "pd.DataFrame | None":
        """One row per evaluation; None where there are none."""
        return self.tables.curves

    @property
    def latents(self) -> "pd.DataFrame | None":
        """Histograms over the latents; None where there are none."""
        return self.tables.latents

    def _lines(self) -> Sequence[str]:
        assert self.tables.path is not None
        counts = self.runs.state.value_counts().sort_index()
        states = ", ".join(f"{count} {state}" for state, count in counts.items())
        evaluations = "" if self.curves is None else f", {len(self.curves):,} evaluations"
        return [f"{self.tables.path.parent}: {len(self.runs)} runs ({states}){evaluations}"]

    def _frame(self) -> "pd.DataFrame":
        return self.runs[[name for name in _FIRST if name in self.runs]]


@dataclass(frozen=True, repr=False)
class Fits(_Result):
    """Fitted laws. tables: what they were fitted to; notes: a sentence for whatever was converted or skipped."""

    tables: "StudyTables"
    notes: tuple[str, ...] = ()

    @property
    def results(self) -> "tuple[FitResult, ...]":
        """Everything about each fit."""
        return self.tables.fits

    @property
    def regimes(self) -> "Regimes | None":
        """L(C) compared with L(N), if both were fitted."""
        return self.tables.regimes

    @property
    def params(self) -> "pd.DataFrame":
        """One row per estimate: law, group, parameter, value, the ends of its 95 % interval, and their method."""
        import pandas as pd

        return pd.DataFrame(
            {"law": one.law, "group": _group(one), "parameter": name, "value": param.value, "low": param.low,
             "high": param.high, "method": param.method}
            for one in self.results
            for name, param in one.params.items()
        )  # fmt: skip

    @property
    def text(self) -> str:
        """What `saescale fit` prints."""
        from fit.views.lines.text import text

        return text(self.results, self.regimes)

    def plot(self, figure: str | None = None, style: str = "paper") -> "Plot":
        """Draw one of the figures of `saescale figures`.

        Parameters
        ----------
        figure : its name, as "l_nk"; by default that of the first law that has a figure.
        style : "paper" or "talk".

        Raises
        ------
        FitError
            For an unknown name, and where the tables lack what the figure shows.

        Examples
        --------
        >>> from fit.datasets import load
        >>> ss.fit(load("gao2024_gpt4_lnk"), "L_NK", mapping={"n_latents": "n"}).plot()
        l_nk: 250 plotted numbers; .save(folder) writes PDF, PNG, CSV and the caption
        """
        from fit.data.near_names import did_you_mean
        from fit.law.errors import FitError
        from fit.views.figures.gallery import FIGURES

        names = (figure,) if figure is not None else (one.law for one in self.results)
        name = next((name.lower() for name in names if name.lower() in FIGURES), None)
        if name is None:
            what = "None of these laws has a figure" if figure is None else f"There is no figure {figure!r}"
            near = did_you_mean(figure or "", FIGURES)
            raise FitError(f"{what}: choose among {', '.join(FIGURES)}.{near}")
        numbers = FIGURES[name].numbers(self.tables)
        drawn = FIGURES[name].draw(numbers, self.tables, style)
        return Plot(name, drawn, numbers, FIGURES[name].caption(numbers, self.tables), style)

    def predict(
        self,
        points: "Sequence[Mapping[str, Any]] | None" = None,
        laws: Sequence[str] | None = None,
        **inputs: float,
    ) -> "Predictions":
        """What the laws say, with 95 % intervals and how far that is beyond the rows, like `saescale predict`.

        Parameters
        ----------
        points : for each point its inputs; by default a single point, the keywords.
        laws : the laws to ask; by default all whose inputs are given.
        inputs : of the laws, as n_latents=2**24, k=256; they hold for every point.

        Raises
        ------
        FitError
            Where no law can answer, in one sentence.

        Examples
        --------
        >>> from fit.datasets import load
        >>> fits = ss.fit(load("gao2024_gpt4_lnk"), "L_NK", mapping={"n_latents": "n"})
        >>> answer = fits.predict(n_latents=2**24, k=256)
        >>> answer.frame[["law", "predicted", "low", "high"]].round(4).to_dict("records")
        [{'law': 'L_NK', 'predicted': 0.2028, 'low': 0.1956, 'high': 0.2097}]
        """
        from fit.study.answers.prediction import predict

        asked = [{**inputs, **point} for point in (points if points is not None else [{}])]
        return Predictions(tuple(asked), predict(self.results, asked, laws))

    def save(self, folder: Path | str) -> Path:
        """Write fits.json into a folder, for `saescale figures`, `predict` and `report`, and return its path."""
        from fit.study.fits_file import NAME, write_json

        return write_json(
            self.results,
            str(self.tables.path or "a DataFrame"),
            Path(folder) / NAME,
            self.regimes,
            self.tables.made_from,
        )

    def _lines(self) -> Sequence[str]:
        from fit.views.format import greek, with_interval

        laws = [
            f"{one.law}{f' ({_group(one)})' if one.group else ''}, {one.rows} rows: "
            + "   ".join(
                f"{greek(name)} {with_interval(p.value, p.low, p.high)}" for name, p in one.params.items()
            )
            + (f"   REFUTED: {one.refutation}" if one.refutation else "")
            for one in self.results
        ]
        cautions = sum(len(one.cautions) for one in self.results)
        return [*laws, f"{cautions} cautions and {len(self.notes)} notes: print(fits.text), fits.notes"]

    def _repr_html_(self) -> str:
        from fit.views.format import greek, percent, with_interval

        rows = []
        for one in self.results:
            values = (
                f"{greek(name)} {with_interval(p.value, p.low, p.high)}" for name, p in one.params.items()
            )
            held = "" if one.held_out is None else percent(one.held_out.score.rms_log)
            cells = (one.law, _group(one), f"{one.rows}", "   ".join(values), held, one.refutation or "")
            rows.append("".join(f"<td>{escape(cell)}</td>" for cell in cells))
        names = ("law", "group", "rows", "estimates, 95 % intervals", "held-out error (rms)", "refuted")
        head = "".join(f"<th>{name}</th>" for name in names)
        body = "".join(f"<tr>{row}</tr>" for row in rows)
        texts = dict.fromkeys(greek(caution.text) for one in self.results for caution in one.cautions)
        listed = (_details("cautions", list(texts)), _details("notes", self.notes))
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{''.join(listed)}"


@dataclass(frozen=True, repr=False)
class Predictions(_Result):
    """Predictions. points: the inputs of each; answers: everything that each law says there."""

    points: tuple[Mapping[str, Any], ...]
    answers: "Answers"

    @property
    def frame(self) -> "pd.DataFrame":
        """One row per point and law: the prediction, its 95 % intervals, how far beyond the rows, and cautions."""
        import pandas as pd

        from fit.views.answers import prediction_rows

        rows = prediction_rows(self.answers)
        at = [self.points[one.row] for one in self.answers.predictions]
        return pd.DataFrame([{**point, **row} for point, row in zip(at, rows, strict=True)])

    def _lines(self) -> Sequence[str]:
        from fit.views.answers import predictions

        return list(predictions(self.answers, self.points))

    def _repr_html_(self) -> str:
        return f"<pre>{escape(repr(self))}</pre>"


@dataclass(frozen=True, repr=False)
class Plot(_Result):
    """A drawn figure. figure: of matplotlib; numbers: what is plotted; caption: what a paper prints below it."""

    name: str
    figure: "Figure"
    numbers: "pd.DataFrame"
    caption: "Caption"
    style: str = "paper"

    def save(self, folder: Path | str) -> list[Path]:
        """Write PDF, PNG, the numbers as CSV and the caption as Markdown and LaTeX into a folder; return the paths."""
        from fit.views.figures.gallery import save

        return save(self.figure, self.numbers, Path(folder), self.name, self.style, self.caption)

    def _lines(self) -> Sequence[str]:
        return [
            f"{self.name}: {len(self.numbers)} plotted numbers; .save(folder) writes PDF, PNG, CSV and the caption"
        ]

    def _repr_html_(self) -> str:
        png = io.BytesIO()
        self.figure.savefig(png, format="png", dpi=150)
        width = round(96 * self.figure.get_figwidth())
        data = base64.b64encode(png.getvalue()).decode()
        return f'<img alt="{escape(self.name)}" width="{width}" src="data:image/png;base64,{data}">'


def _group(one: "FitResult") -> str:
    return ", ".join(f"{name}={value}" for name, value in one.group.items())


def _details(title: str, sentences: Sequence[str]) -> str:
    """A list of sentences under a heading that opens it; nothing for an empty list."""
    if not sentences:
        return ""
    items = "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences)
    return f"<details><summary>{len(sentences)} {title}</summary><ul>{items}</ul></details>"
