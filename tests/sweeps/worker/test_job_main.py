"""A job whose start takes longer than its time limit allows ends as `stalled` instead of being requeued for ever."""

import os
import signal
import subprocess
import sys
import time

import pytest

from sweeps.dispatch import slurm
from sweeps.dispatch.launch import missing, write_runs
from sweeps.dispatch.states import states
from sweeps.ledger import failures
from sweeps.ledger.claims import claim
from sweeps.ledger.job_environment import STARTED
from sweeps.ledger.run_folder import Status
from sweeps.planning.plan import make_plan
from sweeps.worker.job_main import STALLED_ROUNDS, job


@pytest.fixture
def rounds(tiny, monkeypatch):
    """A study of two runs in a SLURM job, and one round of it: warned while it starts, after `took` seconds.

    trains: what a round does before the warning takes effect, given the folders of the runs.
    """
    plan = make_plan(
        tiny("seed=0,1", "launcher=slurm", "launcher.timeout_min=10", "launcher.slurm.signal_s=60")
    )
    write_runs(plan)
    folders = [plan.study.run(run.run_id) for run in plan.runs]
    requeued = []
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    monkeypatch.setattr("sweeps.worker.job_main.requeue", lambda: requeued.append(1) or True)

    def one_round(took: float, trains=lambda folders: None, known_from="SLURM_JOB_START_TIME") -> str:
        def warned(*_):
            trains(folders)
            os.kill(os.getpid(), signal.SIGUSR2)
            return {}

        monkeypatch.setattr("sweeps.worker.worker.work", warned)
        for name in ("SLURM_JOB_START_TIME", STARTED):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv(known_from, str(time.time() - took))
        with pytest.raises(SystemExit) as stopped:
            job(str(plan.study.path), [folder.run_id for folder in folders], plan.launcher)
        return str(stopped.value)

    return plan, folders, requeued, one_round


def gain(folders):
    folders[0].set_status(Status("stopped", folders[0].status().tokens + 64))


def test_after_three_rounds_without_a_token_its_runs_are_failed_with_both_numbers(rounds):
    plan, folders, requeued, one_round = rounds
    for count in range(1, STALLED_ROUNDS):
        assert "Back in the queue" in one_round(570)
        assert [folder.status().rounds for folder in folders] == [count] * 2
    exit_message = one_round(571)
    assert len(requeued) == STALLED_ROUNDS - 1  # and the last time it is not
    for folder in folders:
        status = folder.status()
        assert (status.state, status.failure) == ("failed", "stalled") and status.message in exit_message
        assert (
            "job 12 " in status.message and "571 s" in status.message and "limit is 600 s" in status.message
        )
        (one,) = failures.failures(folder)
        assert (one.kind, one.job, one.message) == ("stalled", "12", status.message)
    assert set(states(plan.study).state) == {"failed (stalled)"}
    assert missing(plan) == []  # a launch does not try it again by itself


def test_what_the_message_says_to_do_starts_it_again(rounds, tiny):
    _, folders, _, one_round = rounds
    for _ in range(STALLED_ROUNDS):
        one_round(570)
    longer = make_plan(
        tiny("seed=0,1", "launcher=slurm", "launcher.timeout_min=60", "launcher.retries.stalled=1")
    )
    assert len(missing(longer)) == 2 and {folder.status().rounds for folder in folders} == {0}


def test_a_round_in_which_any_run_gained_a_token_begins_the_count_anew(rounds):
    _, folders, requeued, one_round = rounds
    for trains in (None, None, gain, None, None):
        one_round(570, *([trains] if trains else []))
    assert len(requeued) == 5
    assert [folder.status().rounds for folder in folders] == [2, 2]


def test_preemption_while_it_starts_is_not_counted(rounds):
    """SIGUSR2 long before the limit: 600 s, less the 60 s of the warning and the minute that SLURM may be early."""
    _, folders, requeued, one_round = rounds
    for _ in range(STALLED_ROUNDS + 1):
        one_round(470)
    assert len(requeued) == STALLED_ROUNDS + 1 and [f.status().rounds for f in folders] == [0, 0]


def test_a_run_that_has_ended_is_left_alone(rounds):
    _, folders, _, one_round = rounds
    folders[0].set_status(Status("done", 1024))
    for _ in range(STALLED_ROUNDS):
        one_round(570)
    assert folders[0].status().state == "done" and folders[1].status().failure == "stalled"


def test_a_run_that_another_worker_has_is_left_alone(rounds):
    _, folders, _, one_round = rounds
    other = claim(folders[0], 600)
    for _ in range(STALLED_ROUNDS):
        one_round(570)
    assert folders[0].status() == Status("pending") and other.touch() and not failures.failures(folders[0])


def test_the_start_that_the_job_measured_is_used_where_slurm_does_not_give_one(rounds):
    _, folders, _, one_round = rounds
    for _ in range(STALLED_ROUNDS):
        one_round(570, known_from=STARTED)
    assert {folder.status().failure for folder in folders} == {"stalled"} and "570 s" in folders[
        0
    ].status().message


def test_the_first_python_of_a_job_says_when_it_began():
    code = f"import os; print(os.environ['{STARTED}'])"
    command = [sys.executable, "-ISc", slurm._HOLD_SIGNALS, "-c", code]
    before = time.time()
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert before <= float(done.stdout) <= time.time()
