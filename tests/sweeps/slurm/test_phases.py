"""A study in phases on a real SLURM: one launch goes through all of them, also when preempted within and between."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sae_core.training.run import CLOCKS
from sweeps.ledger.launches import planners
from sweeps.ledger.phase_record import PhaseFolder
from sweeps.ledger.run_folder import Study
from tests.sweeps.dispatch.phase_study import PhaseStudy
from tests.sweeps.dispatch.test_phases_end_to_end import TEXT
from tests.sweeps.slurm.processes import until
from tests.sweeps.slurm.study import CHAOS, LAUNCHER, ROOT

pytestmark = pytest.mark.slow
PHASES = ("tune", "main", "large")


class SlurmStudy:
    """The study, launched with gates: until `gate` is there a run hardly goes on past its eighth step, and no planner
    starts before `next_gate`.
    """

    def __init__(self, cluster, folder: Path) -> None:
        self.cluster, self.gate, self.next_gate = cluster, folder / "gate", folder / "next_gate"
        here = PhaseStudy(folder, TEXT)
        self.study = Study(folder / "runs" / "two")
        (folder / "chaos").mkdir()
        (folder / "chaos" / "sitecustomize.py").write_text(CHAOS)
        path = os.pathsep.join([str(folder / "chaos"), str(ROOT)])
        gates = {"gate": str(self.gate), "next_gate": str(self.next_gate)}
        self.env = cluster.env | {"PYTHONPATH": path, "CHAOS": json.dumps(gates)}
        flops = "launcher.flops_per_s=1e6"
        on_slurm = [
            *LAUNCHER,
            "launcher.workers=2",
            "launcher.slurm.mem_gb=2",
            "launcher.slurm.partition=low",
            flops,
        ]
        self.overrides = [one for one in here.overrides() if not one.startswith("launcher=")] + on_slurm
        self.calm_overrides = here.overrides(f"runs={folder / 'calm'}", flops)

    def launch(self, overrides, env) -> str:
        command = [sys.executable, "-m", "sweeps.verbs.cli", "launch", *overrides]
        done = subprocess.run(command, env=env, text=True, capture_output=True, timeout=900)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def preempt(self) -> None:
        """An urgent job takes every node."""
        urgent = self.cluster.submit("sleep 2", "--partition=main", "--nodes=4", "--exclusive")
        until("urgent job ran", lambda: urgent not in {job["JobID"] for job in self.cluster.jobs()}, 90)

    def running(self) -> set[str]:
        return {job["JobID"] for job in self.cluster.jobs() if job["State"] == "RUNNING"}


def told(study: Study):
    """All that a study found, without the times it took."""
    curves = {
        folder.run_id: [{k: v for k, v in row.items() if k not in CLOCKS} for row in folder.curve()]
        for folder in study.runs()
    }
    records = [PhaseFolder(study, phase).record() for phase in PHASES]
    return curves, [record and (record.taken, record.runs) for record in records]


def test_phases_go_on_by_themselves_through_preemptions_within_and_between(tmp_path, cluster):
    study = SlurmStudy(cluster, tmp_path)
    out = study.launch(study.overrides, study.env)
    (first,) = planners(study.study)
    assert f"job {first} goes on when this phase has ended" in out
    assert f"job {first} goes on" in study.launch(
        study.overrides, study.env
    )  # a second launch submits no second one
    assert planners(study.study) == [first]
    until("tune trains", lambda: any(f.status().tokens for f in study.study.runs()), 180)
    study.preempt()
    study.gate.touch()
    until("the first planner runs", lambda: first in study.running(), 600)
    study.preempt()
    study.next_gate.touch()
    # A planner waits on the jobs of each phase but the last.
    until("two planners", lambda: len(planners(study.study)) >= 2, 600)
    ended = ("done", "diverged")
    until(
        "the last phase",
        lambda: (
            PhaseFolder(study.study, "large").record() is not None
            and all(
                study.study.run(run).status().state in ended
                for run in PhaseFolder(study.study, "large").record().runs
            )
        ),
        900,
    )
    first_lives = study.cluster.accounting([first])
    assert len(first_lives) >= 2 and first_lives[0]["State"] != "COMPLETED"
    assert any(len(folder.claim_paths()) > 1 for folder in study.study.runs())
    study.launch(study.calm_overrides, {**os.environ, "PYTHONPATH": str(ROOT)})
    assert told(study.study) == told(Study(tmp_path / "calm" / "two"))
