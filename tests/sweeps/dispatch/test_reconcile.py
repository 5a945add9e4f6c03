"""What the end of a SLURM job means for the runs it was given."""

import pytest

from sweeps.dispatch import slurm
from sweeps.dispatch.cancel import retry
from sweeps.dispatch.launch import missing, write_runs
from sweeps.dispatch.reconcile import settle
from sweeps.dispatch.slurm import JobState
from sweeps.dispatch.submit import by_memory, excluded
from sweeps.ledger import failures
from sweeps.ledger.claims import claim, held
from sweeps.ledger.launches import launches, new_folder, record
from sweeps.ledger.run_folder import Status
from sweeps.planning.plan import make_plan


@pytest.fixture
def given(tiny, monkeypatch):
    """A study of three runs in one job of SLURM, which stands as the test says."""
    plan = make_plan(tiny("seed=0,1,2", "launcher=slurm"))
    write_runs(plan)
    ids = [run.run_id for run in plan.runs]
    record(new_folder(plan.study), "slurm", plan.overrides, {"7_0": ids})
    monkeypatch.setattr(slurm, "available", lambda: True)
    stands = {}
    monkeypatch.setattr(
        slurm, "states", lambda jobs: {job: stands[job] for job in set(jobs) if job in stands}
    )
    return plan, [plan.study.run(run_id) for run_id in ids], stands


def states(runs):
    return [(run.status().state, run.status().failure) for run in runs]


def test_a_living_job_keeps_its_runs(given):
    plan, runs, stands = given
    stands["7_0"] = JobState("PENDING", True, "Priority")
    assert set(settle(plan.study)) == {run.run_id for run in runs} and missing(plan) == []
    assert states(runs) == [("pending", None)] * 3


@pytest.mark.parametrize(
    ("state", "running", "pending"),
    [
        ("OUT_OF_MEMORY", ("failed", "host_oom"), ("failed", "host_oom")),
        ("NODE_FAIL", ("failed", "node"), ("failed", "node")),
        ("FAILED", ("failed", "lost"), ("failed", "lost")),
        ("TIMEOUT", ("failed", "lost"), ("pending", None)),
        ("PREEMPTED", ("stopped", None), ("pending", None)),
        ("CANCELLED", ("cancelled", None), ("cancelled", None)),
        ("COMPLETED", ("stopped", None), ("pending", None)),
    ],
)
def test_ends_of_a_job(given, state, running, pending):
    plan, runs, stands = given
    runs[0].set_status(Status("done", 1024))
    runs[1].set_status(Status("running", 512))
    stands["7_0"] = JobState(state, False, "0:9", "n3")
    assert settle(plan.study) == {}
    assert states(runs) == [("done", None), running, pending]
    if running[0] == "failed":
        (one,) = failures.failures(runs[1])
        assert (one.kind, one.job, one.host) == (running[1], "7_0", "n3")
        assert "job 7_0 on n3" in runs[1].status().message
    settle(plan.study)
    assert len(failures.failures(runs[1])) == (running[0] == "failed")  # counted once


def test_what_may_be_tried_again_is_missing_and_what_was_cancelled_is_not(given):
    plan, runs, stands = given
    stands["7_0"] = JobState("OUT_OF_MEMORY", False, "0:125", "n1")
    assert len(missing(plan)) == 3 and states(runs) == [("pending", None)] * 3
    assert list(by_memory(plan, plan.runs)) == [48.0]  # half as much again as 32
    assert len(missing(plan)) == 3 and len(failures.failures(runs[0])) == 1  # the same end counts once
    record(new_folder(plan.study), "slurm", plan.overrides, {"9": [run.run_id for run in runs]})
    stands["9"] = JobState("CANCELLED", False, "0:15", "n1")
    assert missing(plan) == [] and states(runs) == [("cancelled", None)] * 3
    assert len(retry(plan.study, runs)) == 3 and len(missing(plan)) == 3


def test_nodes_that_failed_a_run_are_left_out(given):
    plan, runs, stands = given
    stands["7_0"] = JobState("NODE_FAIL", False, "0:0", "n3")
    assert excluded(plan, missing(plan)) == "n3"


def test_a_run_that_another_holds_by_now_is_left_alone(given, monkeypatch):
    plan, runs, stands = given
    runs[0].set_status(Status("running", 512))
    other = claim(runs[0], 60)
    stands["7_0"] = JobState("FAILED", False, "0:9", "n1")
    settle(plan.study)
    assert states(runs)[0] == ("running", None) and other.touch()


def test_a_claim_of_the_job_that_is_over_is_freed_at_once(given, monkeypatch):
    plan, runs, stands = given
    monkeypatch.setenv("SLURM_JOB_ID", "7_0")
    claim(runs[0], 600)
    monkeypatch.delenv("SLURM_JOB_ID")
    runs[0].set_status(Status("running", 512))
    assert held(runs[0])
    stands["7_0"] = JobState("FAILED", False, "0:9", "n1")
    settle(plan.study)
    assert states(runs)[0] == ("failed", "lost")


def test_jobs_killed_at_their_limit_before_their_start_has_ended_are_given_up_as_stalled(given):
    """As `launch --wait` would start them for ever; a round in which a worker had any of the runs does not count."""
    plan, runs, stands = given
    ids = [run.run_id for run in runs]
    for number in range(1, 4):
        job = f"7_{number}"
        record(new_folder(plan.study), "slurm", plan.overrides, {job: ids})
        stands[job] = JobState("TIMEOUT", False, "0:0", "n1", 613, 600)
        settle(plan.study)
        assert settle(plan.study) == {}  # counted once
        if number < 3:
            assert [run.status().rounds for run in runs] == [number] * 3 and len(missing(plan)) == 3
    assert states(runs) == [("failed", "stalled")] * 3
    assert "7_3 on n1, which ran 613 s with a limit of 600 s" in runs[0].status().message
    assert missing(plan) == []


def test_a_limit_reached_by_a_job_that_had_begun_is_not_a_stall(given, monkeypatch):
    plan, runs, stands = given
    monkeypatch.setenv("SLURM_JOB_ID", "7_0")
    claim(runs[0], 600)
    monkeypatch.delenv("SLURM_JOB_ID")
    stands["7_0"] = JobState("TIMEOUT", False, "0:0", "n1", 613, 600)
    settle(plan.study)
    assert [run.status().rounds for run in runs] == [0, 0, 0]


def test_the_last_launch_of_a_run_is_the_one_that_counts(given):
    plan, runs, stands = given
    record(new_folder(plan.study), "slurm", plan.overrides, {"9": [runs[0].run_id]})
    stands |= {"7_0": JobState("CANCELLED", False), "9": JobState("RUNNING", True)}
    assert set(settle(plan.study)) == {runs[0].run_id}
    assert states(runs) == [("pending", None), ("cancelled", None), ("cancelled", None)]
    assert [launch.jobs for launch in launches(plan.study)][1] == {"9": [runs[0].run_id]}
