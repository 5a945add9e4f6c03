"""Sweeps on a real SLURM that is preempted, out of time, killed, cancelled, silent or out of disk.

After each: no run lost, none trained twice, no wrong row (`TinyStudy.check`).
"""

import math
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.sweeps.slurm.cluster import Cluster
from tests.sweeps.slurm.processes import PATIENCE, until
from tests.sweeps.slurm.settings import Settings
from tests.sweeps.slurm.study import TinyStudy

pytestmark = pytest.mark.slow


@pytest.fixture
def tiny(cluster, tmp_path, record_property):
    studies, began = [], time.monotonic()

    def make(*more, **chaos):
        studies.append(TinyStudy(cluster, tmp_path, *more, **chaos))
        return studies[-1]

    yield make
    for study in studies:
        found = study.report or ", ".join(f"{count} {state}" for state, count in study.count().items())
        record_property("slurm", f"{found}, {time.monotonic() - began:.0f} s")


@contextmanager
def disk(folder: Path, size: str) -> Iterator[Callable[[], Path]]:
    """A small disk of its own at folder, and what fills it; skips where nothing may be mounted."""
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], capture_output=True
    )
    if done.returncode:
        pytest.skip(f"no disk to fill: {done.stderr.decode().strip()}")

    def fill() -> Path:
        with open(folder / "full", "wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError:
                return folder / "full"

    try:
        yield fill
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def test_forty_runs_in_arrays_are_all_collected_and_a_second_launch_does_nothing(tiny):
    study = tiny("sae.k=2,3", "seed=range(0,20)", "launcher.runs_per_pack=8")
    out = study.launch("--wait")
    assert "All 40 runs of tiny have their result" in out
    runs = study.check(40)
    assert study.claims() == [1] * 40
    assert runs.job.str.match(r"\d+_\d+").all() and runs.host.notna().all() and runs.job.nunique() == 8
    assert "40 already done, 0 to train" in study.launch() and study.claims() == [1] * 40


def test_preempted_runs_resume_to_the_same_bits(tiny, cluster):
    study = tiny("seed=range(0,4)", "train.max_tokens=16384", "launcher.slurm.partition=low", slow=0.08)
    study.launch()
    study.until_trained(2000)
    urgent = cluster.submit("sleep 3", "--partition=main", "--nodes=4", "--exclusive")
    until("urgent job ran", lambda: urgent not in {j["JobID"] for j in cluster.jobs()}, 90)
    study.until_states(["done"], 120)
    study.check(4)
    assert max(study.claims()) >= 2


def test_preempted_without_a_warning_runs_resume_as_well(tmp_path):
    """Many sites send SIGTERM only, at the end of the grace to a job's step: runs are saved, and SLURM requeues."""
    with Cluster(Settings(preempt_signal=False, grace_s=5)) as cluster:
        study = TinyStudy(
            cluster, tmp_path, "seed=0,1", "train.max_tokens=16384", "launcher.slurm.partition=low", slow=0.1
        )
        study.launch()
        study.until_trained(1000)
        cluster.submit("sleep 3", "--partition=main", "--nodes=4", "--exclusive")
        study.until_states(["done"], 180)
        study.check(2)
        assert min(study.claims()) == 2
        assert not any((f.path / "failures.jsonl").exists() for f in study.study.runs())


def test_time_limit_reached_twice_and_the_runs_finish(tiny, cluster, tmp_path):
    """The limit is long enough for a start on this machine as it is now, and the training takes more than two limits.

    SLURM looks at time limits every half minute and warns up to half a minute early, so here between 40 and 10 s
    before the limit.
    """
    (tmp_path / "first").mkdir()
    minutes = math.ceil((2 * TinyStudy(cluster, tmp_path / "first").measured_start_s() + 60) / 60)
    steps = 2 * 1024  # of both runs
    study = tiny(
        "seed=0,1",
        "train.max_tokens=65536",
        f"launcher.timeout_min={minutes}",
        "launcher.slurm.signal_s=10",
        slow=2.2 * minutes * 60 / steps,
    )
    study.launch()
    study.until_states(["done"], 180, progress=study.tokens)
    study.check(2)
    assert max(study.claims()) >= 3


def test_a_start_that_takes_longer_than_the_limit_ends_as_stalled(tiny, cluster):
    """Importing torch takes 40 s, and the warning comes within the first half minute: no round trains a step."""
    study = tiny(
        "seed=0,1", "launcher.workers=1", "launcher.timeout_min=1", "launcher.slurm.signal_s=30", import_s=40
    )
    study.launch()
    (job,) = study.workers()
    study.until_states(["failed"], 180, progress=lambda: len(cluster.accounting([job])))
    assert cluster.wait_ended(job)["State"] == "FAILED" and len(cluster.accounting([job])) == 3
    code, out = study.run("status", "runs/tiny")
    assert code == 1 and "runs/tiny: 2 failed (stalled)" in out and "limit is 60 s" in " ".join(out.split())
    run_id = study.study.runs()[0].run_id
    _, out = study.run("status", "runs/tiny", run_id)
    seconds = re.search(r"its start took (\d+) s or longer, and its limit is 60 s", out)
    assert seconds and 40 <= int(seconds[1]) < 90
    assert "2 of 2 runs have no result" in study.launch() and not study.workers()
    study.env["CHAOS"] = "{}"
    study.launch("launcher.timeout_min=30", "launcher.retries.stalled=1")
    study.until_states(["done"], 120)
    study.check(2)


def test_warned_by_the_signal_it_goes_back_into_the_queue(tiny, cluster):
    study = tiny("seed=0,1", "train.max_tokens=16384", "launcher.workers=1", slow=0.02)
    study.launch()
    study.until_trained(1500)
    (job,) = study.workers()
    cluster.run("scancel", "--signal=USR2", job)
    until("requeued", lambda: max(study.claims()) == 2, 60)
    study.until_states(["done"], 90)
    study.check(2)
    assert [record["State"] for record in cluster.accounting([job])][-1] == "COMPLETED"


@pytest.mark.parametrize("slow", ["start_s", "import_s"])
def test_warned_before_it_has_imported_torch_it_goes_back_as_well(tiny, cluster, slow):
    study = tiny("seed=0,1", "launcher.workers=1", **{slow: 8})
    study.launch()
    (job,) = study.workers()
    cluster.wait_running(job)
    time.sleep(3)
    cluster.run("scancel", "--signal=USR2", job)
    until("requeued", lambda: len(cluster.accounting([job])) == 2, 60)
    study.until_states(["done"], 90)
    study.check(2)


def test_a_worker_that_is_killed_is_launched_again(tiny):
    study = tiny("seed=0,1", "train.max_tokens=8192", "launcher.workers=1", slow=0.03)
    waiting = study.start("launch", *study.overrides, "--wait")
    study.until_trained(1000)
    (pid,) = study.pids()
    os.kill(pid, signal.SIGKILL)
    out, _ = waiting.communicate(timeout=PATIENCE * 180)
    assert waiting.returncode == 0, out
    runs = study.check(2)
    assert runs.failures.max() == 1


def test_a_node_that_dies_and_its_jobs_run_elsewhere(tiny, cluster):
    study = tiny(
        "seed=range(0,4)",
        "train.max_tokens=16384",
        "launcher.workers=4",
        "launcher.slurm.cpus_per_task=8",
        slow=0.04,
    )
    study.launch()
    study.until_trained(1500)
    node = next(job["NodeList"] for job in cluster.jobs() if job["State"] == "RUNNING")
    cluster.kill_node(node, noticed=True)
    study.until_states(["done"], 180)
    runs = study.check(4)
    assert len(runs) == 4 and max(study.claims()) >= 2


def test_a_slurmd_that_is_killed_costs_nothing(tiny, cluster):
    study = tiny("seed=range(0,4)", "train.max_tokens=8192", slow=0.02)
    study.launch()
    study.until_trained(1000)
    node = next(job["NodeList"] for job in cluster.jobs() if job["State"] == "RUNNING")
    cluster.kill_slurmd(node)
    time.sleep(2)
    cluster.revive_node(node)
    study.until_states(["done"], 120)
    study.check(4)


def test_what_the_user_cancels_stays_cancelled_until_retried(tiny, cluster):
    study = tiny("seed=range(0,4)", "train.max_tokens=16384", "launcher.workers=2", slow=0.02)
    study.launch()
    study.until_trained(1000)
    cluster.run("scancel", *study.workers())
    until("queue empty", lambda: not study.workers(), 30)
    assert "4 of 4 runs have no result" in study.launch()
    assert set(study.states().values()) == {"cancelled"} and not study.workers()
    code, out = study.run("retry", "runs/tiny")
    assert code == 0 and "4 runs will be tried again" in out and "jobs submitted" in out
    study.until_states(["done"], 120)
    study.check(4)


def test_cancel_by_a_condition_leaves_the_others(tiny):
    study = tiny("seed=range(0,4)", "train.max_tokens=16384", "launcher.workers=2", gated=True)
    study.launch()
    study.until_trained(800)
    code, out = study.run("cancel", "runs/tiny", "where=seed >= 2")
    assert code == 0 and "2 runs cancelled" in out
    study.open_gate()
    study.until_states(["done", "cancelled"], 90)
    assert study.states() == {0: "done", 1: "done", 2: "cancelled", 3: "cancelled"}
    until("queue empty", lambda: not study.workers(), 30)


def test_a_controller_that_is_down_is_waited_out(tiny, cluster):
    study = tiny("seed=range(0,4)", "train.max_tokens=4096", gated=True)
    cluster.stop_controller()
    launching = study.start("launch", *study.overrides)
    assert next((line for line in launching.stdout if "SLURM does not answer" in line), None)
    cluster.start_controller()
    out, _ = launching.communicate(timeout=PATIENCE * 120)
    assert launching.returncode == 0, out
    cluster.stop_controller()
    code, out = study.run("status", "runs/tiny")
    assert "from the folders alone" in out
    study.open_gate()
    cluster.start_controller()
    study.until_states(["done"], 120)
    study.check(4)
    assert study.claims() == [1] * 4


def test_two_launches_at_once_train_each_run_once(tiny):
    study = tiny("seed=range(0,8)", "train.max_tokens=4096", slow=0.01)
    both = [study.start("launch", *study.overrides, "--wait") for _ in range(2)]
    outs = [process.communicate(timeout=PATIENCE * 200)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], outs
    study.check(8)
    assert study.claims() == [1] * 8


def test_a_run_that_always_crashes_is_reported_once_and_harms_no_other(tiny):
    study = tiny("seed=range(0,4)", "launcher.workers=1", crash=2)
    out = study.launch("--wait", expect=1)
    assert study.states() == {0: "done", 1: "done", 2: "failed", 3: "done"}
    assert out.count("KeyError: 'surprise'") == 1 and "1 of 4 runs have no result" in out
    code, out = study.run("status", "runs/tiny")
    assert code == 1 and "failed (bug)" in out and "KeyError: 'surprise'" in out
    assert "1 of 4 runs have no result" in study.launch() and not study.workers()
    assert max(study.claims()) == 1


def test_a_run_that_kills_its_worker_is_given_up_after_its_retries_and_the_others_end(tiny):
    study = tiny("seed=range(0,3)", "launcher.workers=3", "launcher.retries.lost=1", kill=1)
    study.launch("--wait", expect=1)
    assert study.states() == {0: "done", 1: "failed", 2: "done"}
    code, out = study.run("status", "runs/tiny")
    assert code == 1 and "failed (lost)" in out


def test_exit_codes_tell_slurm_the_truth(tiny, cluster):
    study = tiny("seed=0,1", "launcher.workers=2", "launcher.runs_per_pack=1", crash=1)
    study.launch("--wait", expect=1)
    (array,) = {job.partition("_")[0] for job in study.jobs()}
    states = sorted(record["State"] for record in cluster.accounting([array]))
    assert states == ["COMPLETED", "FAILED"]


def test_a_full_disk_is_a_clear_state_and_the_runs_go_on_when_there_is_space(tiny, tmp_path):
    study = tiny("seed=range(0,4)", "train.max_tokens=8192", "launcher.workers=2", slow=0.02)
    with disk(tmp_path / "runs", "4m") as fill:
        study.launch()
        study.until_trained(500)
        full = fill()
        until("queue empty", lambda: not study.workers(), 90)
        code, out = study.run("status", "runs/tiny")
        assert code == 1 and "failed (disk)" in out and "No space left on device" in out
        full.unlink()
        study.launch("--wait")
        study.check(4)


def test_edits_after_the_launch_change_no_job_that_waits(tiny, cluster):
    study = tiny("seed=0", "train.max_tokens=2048")
    blocker = cluster.submit("sleep 3600", "--nodes=4", "--exclusive")
    until(
        "blocked", lambda: any(j["JobID"] == blocker and j["State"] == "RUNNING" for j in cluster.jobs()), 30
    )
    study.launch()
    (launch,) = (study.study.jobs).iterdir()
    assert (launch / "code" / "sweeps" / "worker" / "worker.py").exists() and (
        launch / "code" / "code.json"
    ).exists()
    code, out = study.run("status", "runs/tiny")
    assert code == 0 and "queued" in out and "Resources" in out
    study.env["PYTHONPATH"] = ""
    cluster.run("scancel", blocker)
    study.until_states(["done"], 60)
    facts = study.study.runs()[0].environment()
    assert facts["job"] and facts["git_sha"]
