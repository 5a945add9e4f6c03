"""The job that goes on with a study: what it asks SLURM for, and that there is one at a time."""

from dataclasses import replace

import pytest

from sweeps.config.launcher import Launcher, Slurm
from sweeps.dispatch import planner, slurm
from sweeps.dispatch.slurm import JobState
from sweeps.errors import SweepError
from sweeps.ledger import launches
from sweeps.ledger.run_folder import Study

LAUNCHER = Launcher(
    kind="slurm", device="cuda", threads=4, timeout_min=720,
    slurm=Slurm(partition="gpu", gpus_per_node=1, cpus_per_task=4, mem_gb=32, sbatch={"mail-type": "FAIL"}),
)  # fmt: skip


def test_it_asks_for_little_and_depends_on_the_phase():
    asked = planner.small(LAUNCHER, "afterany:7:8")
    assert (asked.slurm.gpus_per_node, asked.slurm.cpus_per_task, asked.slurm.mem_gb) == (None, 1, 4.0)
    assert asked.slurm.sbatch == {"mail-type": "FAIL", "dependency": "afterany:7:8"}
    assert (asked.slurm.partition, asked.threads, asked.timeout_min) == ("gpu", 1, 60)
    own = replace(LAUNCHER, slurm=replace(LAUNCHER.slurm, planner={"partition": "cpu", "mem_gb": 8}))
    asked = planner.small(own, None)
    assert (asked.slurm.partition, asked.slurm.mem_gb) == (
        "cpu",
        8,
    ) and "dependency" not in asked.slurm.sbatch
    with pytest.raises(SweepError, match="launcher.slurm.planner has 'colour'"):
        planner.small(replace(LAUNCHER, slurm=replace(LAUNCHER.slurm, planner={"colour": "red"})), None)


def test_one_that_lives_is_found_and_it_is_never_the_job_itself(tmp_path, monkeypatch):
    study = Study(tmp_path / "two")
    for kind, job in (("slurm", "1_0"), (launches.PLANNER, "2"), (launches.PLANNER, "3")):
        launches.record(launches.new_folder(study), kind, ["study=two"], {job: []})
    states = {"2": JobState("COMPLETED", False), "3": JobState("PENDING", True)}
    monkeypatch.setattr(slurm, "states", lambda ids: {job: states[job] for job in ids})
    assert planner.living(study) == "3"
    monkeypatch.setattr(planner, "slurm_job", lambda: "3")
    assert planner.living(study) is None
