"""Which runs of a study a verb means: all, those named by id, or those for which a condition holds."""

import re
from collections.abc import Sequence
from typing import Any

from sae_core.config import RunConfig
from sweeps.config.expression import evaluate
from sweeps.errors import SweepError
from sweeps.ledger.run_folder import RunFolder, Study
from sweeps.verbs.locate import find_study

_ID = re.compile("[0-9a-f]{12}")


def chosen(arguments: Sequence[str]) -> tuple[Study, list[RunFolder]]:
    """The study and its runs: STUDY [RUN_ID …] [where='n_latents > 4096']."""
    ids = [a for a in arguments if _ID.fullmatch(a)]
    conditions = [a.removeprefix("where=") for a in arguments if a.startswith("where=")]
    study = find_study([a for a in arguments if a not in ids and not a.startswith("where=")])
    known = {folder.run_id: folder for folder in study.runs()}
    for run_id in ids:
        if run_id not in known:
            raise SweepError(f"There is no run {run_id} in {study.path}.")
    runs = [known[run_id] for run_id in ids] or list(known.values())
    return study, [folder for folder in runs if all(_holds(text, folder) for text in conditions)]


def _holds(text: str, folder: RunFolder) -> bool:
    return bool(evaluate(text, _names(folder)))


def _names(folder: RunFolder) -> dict[str, Any]:
    """The same names as in grid.where, and `state`."""
    config = folder.config()
    run = RunConfig.from_dict(config["run"])
    own = {"seed": run.seed, "d_model": run.data.d_model, "shuffle_seed": run.data.shuffle_seed}
    return (
        vars(run.sae)
        | vars(run.train)
        | own
        | {"data": config["data"]["name"], "state": folder.status().state}
    )
