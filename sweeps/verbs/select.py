"""Which runs of a study a verb means: all, those named by id, or those for which a condition holds."""

import re
from collections.abc import Sequence

from sweeps.config.expression import holds
from sweeps.errors import SweepError
from sweeps.ledger.run_folder import RunFolder, Study
from sweeps.ledger.tables import RUN_COLUMNS, run_row
from sweeps.verbs.locate import find_study

_ID = re.compile("[0-9a-f]{12}")


def chosen(arguments: Sequence[str]) -> tuple[Study, list[RunFolder]]:
    """The study and its runs: STUDY [RUN_ID …] [where='n_latents > 4096']."""
    ids = [a for a in arguments if _ID.fullmatch(a)]
    wanted = [a.removeprefix("where=") for a in arguments if a.startswith("where=")]
    study = find_study([a for a in arguments if a not in ids and not a.startswith("where=")])
    known = {folder.run_id: folder for folder in study.runs()}
    for run_id in ids:
        if run_id not in known:
            raise SweepError(f"There is no run {run_id} in {study.path}.")
    runs = [known[run_id] for run_id in ids] or list(known.values())
    return study, [folder for folder in runs if all(_holds(text, study, folder) for text in wanted)]


def _holds(text: str, study: Study, folder: RunFolder) -> bool:
    """Whether the condition holds for the run's row of runs.parquet, as it would be collected now."""
    row = run_row(folder, study.name, folder.curve())
    return holds(text, {column: row.get(column) for column in RUN_COLUMNS})
