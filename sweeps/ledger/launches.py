"""What was launched: one folder per launch under `jobs/`, whose launch.json says which job was given which runs."""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sae_core.files import write_text
from sweeps.ledger.run_folder import Study, dumps, read_json

FILE = "launch.json"
PLANNER = "planner"  # the kind of a launch whose job plans the next phase


@dataclass(frozen=True)
class Launch:
    """folder: its logs and snapshot. kind: of the launcher. overrides: as typed. jobs: the runs of each job id."""

    folder: Path
    kind: str
    overrides: list[str]
    jobs: dict[str, list[str]]


def new_folder(study: Study) -> Path:
    """Make a new folder for a launch. Sorted by name, the folders are in the order of their launches."""
    for number in range(1000):
        folder = study.jobs / f"{time.strftime('%Y%m%d-%H%M%S')}-{number:03d}"
        try:
            os.makedirs(folder)
        except FileExistsError:
            continue
        return folder
    raise FileExistsError(f"{study.jobs} has a thousand launches of this second")


def record(folder: Path, kind: str, overrides: Sequence[str], jobs: Mapping[str, Sequence[str]]) -> Launch:
    """Write down which jobs this launch has submitted so far."""
    launch = Launch(folder, kind, list(overrides), {job: list(runs) for job, runs in jobs.items()})
    content: dict[str, Any] = {"kind": kind, "overrides": launch.overrides, "jobs": launch.jobs}
    write_text(folder / FILE, dumps(content, indent=1) + "\n")
    return launch


def launches(study: Study) -> list[Launch]:
    """Every launch of the study, the oldest first."""
    found = []
    for path in sorted(study.jobs.glob(f"*/{FILE}")):
        content = read_json(path)
        if content is not None:
            found.append(Launch(path.parent, content["kind"], content["overrides"], content["jobs"]))
    return found


def job_of_each_run(study: Study) -> dict[str, str]:
    """The SLURM job that each run was given to last."""
    return {
        run: job
        for launch in launches(study)
        if launch.kind == "slurm"
        for job, runs in launch.jobs.items()
        for run in runs
    }


def planners(study: Study) -> list[str]:
    """The SLURM jobs that plan the next phase, those that have ended too."""
    return [job for launch in launches(study) if launch.kind == PLANNER for job in launch.jobs]
