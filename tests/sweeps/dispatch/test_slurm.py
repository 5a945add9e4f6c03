"""Asking SLURM: what its commands print is understood, a silent controller is asked again, a refusal is a sentence."""

import os
import stat
import time
from types import SimpleNamespace

import pytest

from sweeps.dispatch import slurm
from sweeps.dispatch.slurm import JobState, states
from sweeps.errors import SweepError
from sweeps.planning.plan import make_plan


@pytest.fixture
def commands(tmp_path, monkeypatch):
    """Commands of SLURM that print what a test says and write down how they were called."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")

    def install(name, text="", code=0, error=""):
        path = folder / name
        path.write_text(
            f"#!/bin/sh\necho \"$0 $*\" >> {folder}/calls\ncat <<'END'\n{text}\nEND\n"
            f"[ -n '{error}' ] && echo '{error}' >&2\nexit {code}\n"
        )
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    install.calls = lambda: (folder / "calls").read_text().splitlines()
    for name in ("sbatch", "srun", "squeue", "sacct", "scancel", "scontrol"):
        install(name)
    return install


def test_states_take_one_call_each_and_the_queue_first(commands):
    commands("squeue", "7_0|RUNNING|None|n1\n7_1|PENDING|Priority|\n99|RUNNING|None|n2")
    ended = [
        "7_1|NODE_FAIL|0:0|n1|12:00|5|60",
        "7_2|CANCELLED by 0|0:15|n1|12:00|61|1",
        "7_3|FAILED|1:0|n2|12:00|7|UNLIMITED",
    ]
    not_yet = ["8|RUNNING|0:0|None assigned|Unknown|0|60", "10|FAILED|0:0|n1|Unknown|3|60"]
    commands("sacct", "\n".join(ended + not_yet))
    found = states(["7_0", "7_1", "7_2", "7_3", "8", "9", "10"])
    assert found == {
        "7_0": JobState("RUNNING", True, "", "n1"),
        "7_1": JobState("PENDING", True, "Priority", ""),  # sacct's NODE_FAIL is of its earlier life
        "7_2": JobState("CANCELLED", False, "0:15", "n1", 61, 60),
        "7_3": JobState("FAILED", False, "1:0", "n2", 7, None),
        "8": JobState("RUNNING", True, "0:0", "", 0, 3600),  # the accounting is some seconds late
        "10": JobState("FAILED", True, "0:0", "n1", 3, 3600),  # not its last word
    }
    assert len(commands.calls()) == 2 and "--jobs 10,7,8,9" in commands.calls()[1]


def test_nothing_is_asked_about_nothing(commands):
    assert states([]) == {}


def test_without_accounting_what_left_the_queue_is_unknown(commands):
    commands("squeue", "7_0|RUNNING|None|n1")
    commands("sacct", code=1, error="Slurm accounting storage is disabled")
    assert set(states(["7_0", "7_1"])) == {"7_0"}


def test_a_refusal_is_a_sentence_and_not_asked_twice(commands):
    commands("squeue", code=1, error="squeue: error: Invalid user: nobody")
    with pytest.raises(SweepError, match="Invalid user: nobody"):
        slurm.check(patience_s=60)
    assert len(commands.calls()) == 1


def test_a_silent_controller_is_asked_again_for_a_while(commands, monkeypatch, capsys):
    commands(
        "squeue", code=1, error="slurm_load_jobs error: Unable to contact slurm controller (connect failure)"
    )

    def sleep(seconds):
        if len(commands.calls()) == 3:
            commands("squeue")

    # Not time.sleep itself: subprocess sleeps too, while it waits for a command.
    monkeypatch.setattr("sweeps.dispatch.slurm.time", SimpleNamespace(sleep=sleep, monotonic=time.monotonic))
    slurm.check(patience_s=60)
    assert len(commands.calls()) == 4 and "does not answer" in capsys.readouterr().out
    commands("squeue", code=1, error="Unable to contact slurm controller")
    with pytest.raises(SweepError, match="did not answer for 0 s"):
        slurm.check(patience_s=0)


def test_arrays_are_no_longer_than_the_site_allows(commands):
    commands("scontrol", "MaxArraySize            = 4\nMaxJobCount = 10")
    lengths = []

    class Executor:
        def map_array(self, function, *columns):
            lengths.append(len(next(zip(*columns, strict=True)) and list(columns[0])))
            return [type("Job", (), {"job_id": f"{len(lengths)}_{i}"}) for i in range(lengths[-1])]

    ids = slurm.submit(Executor(), [("path", i) for i in range(7)], print, 1)
    assert lengths == [3, 3, 1] and ids == ["1_0", "1_1", "1_2", "2_0", "2_1", "2_2", "3_0"]


def test_script_asks_for_what_the_config_says(commands, tiny, tmp_path):
    given = tiny(
        "seed=0,1,2",
        "launcher=slurm",
        "launcher.workers=2",
        "launcher.timeout_min=90",
        "launcher.slurm.partition=gpu",
        "launcher.slurm.account=interp",
        "launcher.slurm.constraint=h100",
        "launcher.slurm.mem_gb=1.5",
        "launcher.slurm.setup=[module load cuda]",
        "launcher.slurm.python=singularity exec sae.sif python",
        "+launcher.slurm.sbatch.mail-type='FAIL; rm -rf x'",
    )
    plan = make_plan(given)
    text = slurm.script(plan.launcher, tmp_path / "jobs", "saescale-tiny", 3)
    for line in (
        "--array=0-2%2",
        "--partition=gpu",
        "--account=interp",
        "--constraint=h100",
        "--mem=1536MB",
        "--time=90",
        "--signal=USR2@120",
        "--requeue",
        "--mail-type='FAIL; rm -rf x'",
    ):
        assert f"#SBATCH {line}\n" in text, line
    assert "module load cuda\n" in text
    assert "singularity exec sae.sif python -ISc 'import os, signal" in text and "' -u -m submitit" in text
    assert "PYTHONSAFEPATH=1" in text and str(tmp_path / "jobs" / "code") in text
    assert "--qos" not in text and "--exclude" not in text
