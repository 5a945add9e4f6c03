"""The tables of a study, read by one rule for every command: its runs, and the curves, latents and fits beside them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from fit.data import conditions, tables
from fit.data.fingerprint import fingerprint
from fit.data.reading.table_file import holds_results
from fit.data.usual_names import is_explained_variance
from fit.law.errors import FitError
from fit.law.result import FitResult
from fit.regimes.compare import Regimes
from fit.study import fits_file
from fit.study.fits_file import FitsFile, MadeFrom

RUNS, CURVES, LATENTS = "runs.parquet", "curves.parquet", "latents.parquet"


@dataclass(frozen=True)
class StudyTables:
    """The tables of a study under our column names, and the fits that were made from them.

    Attributes
    ----------
    runs : one row for each run, or any table of losses.
    curves : one row for each evaluation of those runs.
    latents : histograms over the latents of those runs.
    fits, regimes : the fits of fits.json, and L(C) compared with L(N). content : the file as plain data.
    path : the table of runs.
    files : the files that were read with it, by what they hold: curves, latents, fits.
    mapping, where : the column names and the condition by which the rows were read.
    outdated : why fits.json was left out, if the table has changed since it was made.
    notes : what else a reader of these tables should know, a sentence each.
    as_read : the tables before the condition chose rows, under our column names; None for tables that were not read.
    """

    runs: pd.DataFrame | None = None
    curves: pd.DataFrame | None = None
    latents: pd.DataFrame | None = None
    fits: tuple[FitResult, ...] = ()
    regimes: Regimes | None = None
    content: Mapping[str, Any] | None = None
    path: Path | None = None
    files: Mapping[str, Path] = field(default_factory=dict)
    mapping: Mapping[str, str] = field(default_factory=dict)
    where: str | None = None
    outdated: str | None = None
    notes: tuple[str, ...] = ()
    as_read: "RawTables | None" = None

    @cached_property
    def made_from(self) -> MadeFrom:
        """What the fits.json of these tables says of their rows."""
        assert self.runs is not None
        curves = None if self.curves is None else fingerprint(self.curves)
        return MadeFrom(fingerprint(self.runs), curves, dict(self.mapping), self.where)

    @classmethod
    def read(
        cls,
        table: Path | str,
        mapping: Mapping[str, str] | None = None,
        where: str | None = None,
        curves: Path | str | None = None,
        fits: Path | str | None = None,
        with_fits: bool = True,
        lenient: bool = False,
        sheet: str | None = None,
    ) -> "StudyTables":
        """Read a table of runs and what lies beside it.

        curves.parquet and latents.parquet beside the table are taken if they have run_id and share runs with it.
        fits.json is taken if it was made from this table, that is from the rows of it that the condition in fits.json
        chooses; their column names are then those of fits.json where `mapping` gives no others.

        Parameters
        ----------
        table : a table of runs in any format of `tables.read`, a study's folder, which has runs.parquet, or a folder
            of results of SAEBench or SAELens.
        mapping : our column names to those of the tables; each must be in at least one of them.
        where : condition on columns that chooses runs.
        curves : a table of evaluations, instead of curves.parquet beside the table.
        fits : a file that `saescale fit` wrote, instead of fits.json beside the table.
        with_fits : False leaves fits.json unread, for a command that fits afresh.
        lenient : leave out, with a note, what lies beside the table and cannot be read, instead of raising FitError.
        sheet : of a workbook, the first with rows by default.

        Raises
        ------
        FitError
            If the table or a file that was named cannot be read, and for fits of another table. Fits beside the table
            that were made from earlier rows of it are left out, see `outdated`.
        """
        path = _table_in(Path(table))
        beside, names = _Beside(path.parent, lenient), dict(mapping or {})
        runs = beside.table(path, sheet)
        known = beside.read("fits", fits_file.NAME, fits_file.read, fits) if with_fits else None
        made = known.made_from if known else None
        all_names = {**(made.mapping if made else {}), **names}
        raw = RawTables(runs, curves_named=curves is not None)
        found = tables.usual(runs, all_names)
        if raw.curves_named or "run_id" in {*runs.columns, *all_names}:
            evaluations = beside.read("curves", CURVES, beside.table, curves, not_this=path)
            raw = replace(
                raw, curves=evaluations, latents=beside.read("latents", LATENTS, beside.table, not_this=path)
            )
        usual = dict(found.mapping)
        if raw.curves is not None:
            usual |= tables.usual(raw.curves, {**usual, **all_names}).mapping
        outdated = None
        if known is not None:
            check = _FitsCheck(known, path, fits is not None)
            if made is None:
                beside.notes.append(check.without_fingerprint())
            elif outdated := check.refusal(raw, made, all_names):
                known = None
                del beside.files["fits"]
            else:
                names = all_names
        if known is None or made is None:
            names = {**usual, **names}
            beside.notes += replace(found, mapping=usual).notes
        as_read = raw.named(names)
        chosen = as_read.chosen(where)
        if about := as_read.about_condition(chosen, where):
            beside.notes.append(about)
        for kind, table_beside in (("curves", chosen.curves), ("latents", chosen.latents)):
            if kind in beside.files and table_beside is None:
                name = beside.files.pop(kind).name
                beside.notes.append(f"{name} was left out: it has no run_id in common with {path.name}.")
        return cls(
            chosen.runs,
            chosen.curves,
            chosen.latents,
            known.fits if known else (),
            known.regimes if known else None,
            known.content if known else None,
            path,
            beside.files,
            names,
            where,
            outdated,
            (*beside.notes, *chosen.notes),
            replace(as_read, condition=where),
        )


@dataclass(frozen=True)
class RawTables:
    """The tables as they were read, under their own column names."""

    runs: pd.DataFrame
    curves: pd.DataFrame | None = None
    latents: pd.DataFrame | None = None
    curves_named: bool = True  # and so taken whatever their run ids are
    notes: tuple[str, ...] = ()  # what was converted to numbers
    condition: str | None = None  # by which rows are chosen from them
    loss_name: str | None = None  # what the table calls the loss, where it was mapped

    def named(self, mapping: Mapping[str, str]) -> "RawTables":
        """All rows under our column names; without further tables that are about other runs."""
        here = self.runs.columns if self.curves is None else self.runs.columns.union(self.curves.columns)
        tables.renamed(self.runs, {ours: theirs for ours, theirs in mapping.items() if theirs not in here})
        notes: list[str] = []
        runs, curves, latents = (
            None if table is None else _in_our_columns(table, mapping, prefix, notes)
            for table, prefix in ((self.runs, ""), (self.curves, "Curves: "), (self.latents, "Latents: "))
        )
        assert runs is not None
        if curves is not None and not self.curves_named and not _share_runs(runs, curves):
            curves = None
        if latents is not None and not _share_runs(runs, latents):
            latents = None
        name = mapping.get("nmse", self.loss_name)
        if "nmse" in mapping and is_explained_variance(mapping["nmse"]):
            name = f"(1 − {mapping['nmse']})"
        return replace(self, runs=runs, curves=curves, latents=latents, notes=tuple(notes), loss_name=name)

    def select(self, mapping: Mapping[str, str], where: str | None) -> "RawTables":
        """The tables under our column names, and of them the rows that are `chosen`."""
        return self.named(mapping).chosen(where)

    def chosen(self, where: str | None) -> "RawTables":
        """The runs for which a condition on our column names holds, and the rows of each table about them.

        A condition on what changes along a curve, such as its tokens, chooses evaluations too: those for which it
        holds, with the columns of their run where the curves do not have them. Runs are then chosen by their own row.
        """
        if where is None or not self.evaluations_chosen(where):
            chosen = tables.where(self.runs, where)
            curves = rows_about(chosen, self.curves, where)
            return replace(self, runs=chosen, curves=curves, latents=rows_about(chosen, self.latents, None))
        assert self.curves is not None
        names = conditions.columns_of(where)
        of_runs = [name for name in self.runs.columns if name in names and name not in self.curves.columns]
        ids = self.runs[["run_id", *of_runs]].drop_duplicates("run_id")
        joined = self.curves.merge(ids, on="run_id", how="left")
        curves = self.curves[conditions.mask(where, joined)]
        if names <= set(self.runs.columns):
            chosen = self.runs[conditions.mask(where, self.runs)]
        else:
            chosen = self.runs[self.runs["run_id"].isin(curves["run_id"])]
        if curves.empty and chosen.empty:
            tables.where(self.runs, where)  # raises the error of a condition that leaves nothing
        about = chosen if len(chosen) else self.runs[self.runs["run_id"].isin(curves["run_id"])]
        return replace(self, runs=chosen, curves=curves, latents=rows_about(about, self.latents, None))

    def evaluations_chosen(self, where: str) -> tuple[str, ...]:
        """The columns of a condition that change along the curves of these tables, which must have our names."""
        if self.curves is None or not {"run_id"} <= set(self.runs.columns) & set(self.curves.columns):
            return ()
        names = [name for name in self.curves.columns if name in conditions.columns_of(where)]
        runs = self.curves.groupby("run_id")
        return tuple(name for name in names if name != "run_id" and runs[name].nunique().gt(1).any())

    def about_condition(self, chosen: "RawTables", where: str | None) -> str | None:
        """What a condition on evaluations chose, None for any other. chosen: the outcome of `select`."""
        along = self.evaluations_chosen(where) if where else ()
        if not along or self.curves is None or chosen.curves is None:
            return None
        changes = f"{', '.join(along)} {'changes' if len(along) == 1 else 'change'} along the curves"
        return (
            f"{where}: {changes}, so the condition chooses {len(chosen.curves):,} of {len(self.curves):,} evaluations "
            f"for the laws of curves, and {len(chosen.runs):,} of {len(self.runs):,} runs, by their own row, for the "
            "others."
        )


def _in_our_columns(
    table: pd.DataFrame, mapping: Mapping[str, str], prefix: str, notes: list[str]
) -> pd.DataFrame:
    """The table under our column names and in numbers; what was converted is added to the notes."""
    table, converted = tables.in_numbers(tables.renamed(table, mapping, partial=True), mapping)
    notes += [f"{prefix}{note}" for note in converted]
    return table


def rows_about(runs: pd.DataFrame, table: pd.DataFrame | None, where: str | None) -> pd.DataFrame | None:
    """The rows of a further table about these runs; of one without run_id, those for which the condition holds."""
    if table is None:
        return None
    if not {"run_id"} <= set(runs.columns) & set(table.columns):
        return tables.where(table, where)
    of_these = table["run_id"].isin(runs["run_id"])
    return table if of_these.all() else table[of_these]


def _share_runs(runs: pd.DataFrame, table: pd.DataFrame) -> bool:
    both = {"run_id"} <= set(runs.columns) & set(table.columns)
    return both and bool(table["run_id"].isin(runs["run_id"]).any())


def _table_in(path: Path) -> Path:
    """The table of runs in a study's folder; a file, or a folder of results of SAEs, as it is."""
    if path.is_dir() and ((path / RUNS).exists() or not holds_results(path)):
        path = path / RUNS
    if path.name == RUNS and not path.exists():
        names = sorted(each.name for each in path.parent.glob("*.*") if each.is_file())
        inside = f"; the folder has {', '.join(names[:5])}" + ", …" * (len(names) > 5) if names else ""
        raise FitError(f"There is no {path}: `saescale collect` writes it, or name a table of runs{inside}.")
    return path


@dataclass
class _Beside:
    """Reads the files beside a table, or those that were named instead; keeps which were read, and notes."""

    folder: Path
    lenient: bool
    files: dict[str, Path] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def table(self, path: Path, sheet: str | None = None) -> pd.DataFrame:
        """A table, with what is to be known about how it was read among the notes."""
        return tables.read(path, self.notes.append, sheet)

    def read(
        self,
        kind: str,
        name: str,
        reader: Callable[[Path], Any],
        named: Path | str | None = None,
        not_this: Path | None = None,
    ) -> Any:
        """The content of the named file, which must exist, or else of the file beside the table, None without one."""
        path = self.folder / name if named is None else Path(named)
        if named is not None and not path.is_file():
            raise FitError(f"There is no file {path}.")
        if not path.is_file() or path == not_this:
            return None
        try:
            content = reader(path)
        except FitError as error:
            if named is not None or not self.lenient:
                raise
            self.notes.append(str(error).replace(f"{path.parent}/", ""))  # the same note in every folder
            return None
        self.files[kind] = path
        return content


@dataclass(frozen=True)
class _FitsCheck:
    """Whether a fits.json is of the table at `path`. named: the user named the file."""

    known: FitsFile
    path: Path
    named: bool

    @property
    def _same_name(self) -> bool:
        return self.known.table is None or Path(self.known.table).name == self.path.name

    def without_fingerprint(self) -> str:
        """A note about fits that do not say which rows they were made from. FitError if they name another table."""
        if not (self._same_name or self.named):
            raise FitError(self._of_another("it does not say how many rows"))
        return (
            f"{self.known.path.name} does not say which rows it was made from (an older saescale wrote it), so it was "
            f"not checked against {self.path.name}: fit the table again to be sure."
        )

    def refusal(self, raw: RawTables, made: MadeFrom, mapping: Mapping[str, str]) -> str | None:
        """Why these fits are not of this table as it is now, None if they are. FitError for fits of another table."""
        reason = self._difference(raw, made, mapping)
        if reason is not None and (self.named or not self._same_name):
            raise FitError(reason)
        return reason

    def _difference(self, raw: RawTables, made: MadeFrom, mapping: Mapping[str, str]) -> str | None:
        now = _rows_now(raw, mapping, made.where)
        if now is not None and _equal(now, made):
            return None
        rows = f"{made.runs.rows:,} rows" + (f" where {made.where}" if made.where else "")
        if not self._same_name:
            return self._of_another(rows)
        if mapping != made.mapping:
            as_made = _rows_now(raw, made.mapping, made.where)
            if as_made is not None and _equal(as_made, made):
                pairs = ",".join(f"{ours}={theirs}" for ours, theirs in made.mapping.items())
                return (
                    f"{self.known.path.name} was made with other columns of {self.path.name}: give the same mapping "
                    f"(--map {pairs}), or fit the table again."
                )
        what = self.path.name
        if now is not None and now.runs == made.runs:
            what = f"The curves of {self.path.name}"
            then, after = (f"{m.curves.rows if m.curves else 0:,} evaluations" for m in (made, now))
        else:
            then, after = rows, "none" if now is None else f"{now.runs.rows:,}"
        verb = "have" if what.startswith("The") else "has"
        return (
            f"{what} {verb} changed since {self.known.path.name} was made ({then} then, {after} now): run "
            f"`saescale fit {self.path}` again, or name the fits of this table with --fits."
        )

    def _of_another(self, rows: str) -> str:
        table = Path(str(self.known.table)).name
        beside = "" if self.named else f" beside {self.path.name}"
        return (
            f"{self.known.path.name}{beside} is of {table} ({rows}), not of {self.path.name}: fit this table into a "
            f"folder of its own (saescale fit {self.path.name} --out FOLDER), and name its fits with --fits."
        )


def _rows_now(raw: RawTables, mapping: Mapping[str, str], where: str | None) -> MadeFrom | None:
    """What fits.json would say if it were made now; None if the mapping or the condition does not fit the table."""
    try:
        now = raw.select(mapping, where)
    except FitError:
        return None
    return StudyTables(now.runs, now.curves, mapping=mapping, where=where).made_from


def _equal(now: MadeFrom, made: MadeFrom) -> bool:
    """Whether the runs are the same, and the curves where both have some."""
    return now.runs == made.runs and (None in (now.curves, made.curves) or now.curves == made.curves)
