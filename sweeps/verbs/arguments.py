"""The base of the verbs of a study: OVERRIDES and STUDY as arguments, and the errors with sentences for the user."""

import argparse
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING

from fit.data.near_names import did_you_mean
from fit.law.errors import FitError
from fit.views.verbs.command import Verb
from sae_core.errors import CheckpointError, ConfigError, DataError
from sae_core.export.about import ExportError
from sweeps.errors import SweepError

if TYPE_CHECKING:
    from sweeps.ledger.run_folder import RunFolder, Study

# The text of these errors is a sentence for the user; any other exception is a bug of this program.
USER_ERRORS = (SweepError, ConfigError, DataError, CheckpointError, ExportError, FitError)
RUN_ID = re.compile("[0-9a-f]{12}")
Run = Callable[[argparse.Namespace], int]


@dataclass(frozen=True)
class SweepVerb(Verb):
    """A verb with errors that can also come from configs, run folders, stores and checkpoints."""

    errors: tuple[type[Exception], ...] = USER_ERRORS


def add_overrides(parser: argparse.ArgumentParser) -> None:
    """Declare OVERRIDES, and the two options of Hydra's own command line that make sense here."""
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="OVERRIDES",
        help="Hydra's: key=value, group=choice; sweeps: key=a,b,c  key=range(1,5)  key=geom(start,stop,ratio)",
    )
    parser.add_argument(
        "-c",
        "--cfg",
        choices=["job"],
        metavar="job",
        help="print the composed config, without its sweeps, and stop",
    )
    parser.add_argument(
        "-m",
        "--multirun",
        action="store_true",
        help="accepted for users of Hydra; every value of a sweep is run without it too",
    )


def prints_config(run: Run) -> Run:
    """Let `--cfg job` print the composed config in place of `run`."""

    @wraps(run)
    def instead(arguments: argparse.Namespace) -> int:
        if not arguments.cfg:
            return run(arguments)
        from sweeps.config.compose import config_text

        print(config_text(arguments.overrides))
        return 0

    return instead


def add_study(parser: argparse.ArgumentParser, ids: bool = False, runs: bool = False) -> None:
    """Declare STUDY. ids: whether run ids may follow; runs: whether run ids or a condition may follow."""
    which = "; then ids of runs"
    which += ", or where=CONDITION for the runs that meet it (default: all runs)" if runs else ""
    parser.add_argument(
        "study",
        nargs="+",
        metavar="STUDY",
        help=f"its folder, or the overrides that name it, as study=demo{which if ids or runs else ''}",
    )


def find_study(arguments: Sequence[str]) -> "Study":
    """The one existing study that the arguments name by its folder, runs/demo, or by overrides, study=demo."""
    paths = [a for a in arguments if "=" not in a]
    if len(paths) == 1 and len(arguments) == 1:
        return _opened(Path(paths[0]))
    if paths or not arguments:
        raise SweepError("Name one study: its folder, as in runs/demo, or its config, as in study=demo.")
    from sweeps.config.compose import compose, hydra_session, parse

    with hydra_session() as loader:
        line = parse(loader, arguments)
        if line.axes:
            raise SweepError(f"{next(iter(line.axes))} has several values here: name one study.")
        config = compose(line.fixed)
        return _opened(Path(config.runs) / config.name)


def _opened(path: Path) -> "Study":
    """The study in a folder; SweepError, with a study beside it that has a near name, if there is none."""
    from sweeps.ledger.run_folder import Study, open_study

    try:
        return open_study(path)
    except SweepError as error:
        there = (other.name for other in path.parent.glob("*/") if Study(other).has_runs)
        raise SweepError(f"{error}{did_you_mean(path.name, there)}") from error


def runs_named(arguments: Sequence[str]) -> "tuple[Study, list[RunFolder]]":
    """The study and its runs: STUDY [RUN_ID …] [where='n_latents > 4096']."""
    ids = [a for a in arguments if RUN_ID.fullmatch(a)]
    conditions = [a.removeprefix("where=") for a in arguments if a.startswith("where=")]
    study = find_study([a for a in arguments if a not in ids and not a.startswith("where=")])
    known = {folder.run_id: folder for folder in study.runs()}
    for run_id in ids:
        if run_id not in known:
            raise SweepError(f"There is no run {run_id} in {study.path}.")
    runs = [known[run_id] for run_id in ids] or list(known.values())
    return study, _meeting(conditions, study, runs) if conditions else runs


def _meeting(conditions: Sequence[str], study: "Study", runs: Sequence["RunFolder"]) -> "list[RunFolder]":
    """The runs with rows in runs.parquet, as these would be collected now, for which the conditions hold."""
    from sweeps.config.expression import holds
    from sweeps.ledger.tables import RUN_COLUMNS, phases_of_runs, run_row

    phases = phases_of_runs(study)  # reads the phase.json of every phase
    chosen = []
    for folder in runs:
        known = run_row(folder, study.name, folder.curve(), phases)
        row = {column: known.get(column) for column in RUN_COLUMNS}
        if all(holds(text, row) for text in conditions):
            chosen.append(folder)
    return chosen
