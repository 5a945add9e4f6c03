"""A study in phases that is trained here: killed and launched again, it equals the uninterrupted one to the bit."""

import os
import signal
import subprocess
import sys
import time

import pytest

from sae_core.training.run import CLOCKS
from sweeps.ledger.phase_record import PhaseFolder
from sweeps.ledger.run_folder import ENDED, Study
from tests.sweeps.dispatch.phase_study import STUDY, PhaseStudy

TEXT = (
    STUDY.split("phases:")[0].replace("epsilon: 0.3", "epsilon: 0.5")
    + """phases:
  tune:
    stop: budget
    grid:
      axes: {sae.n_latents: [8, 10, 12, 16, 20, 24, 32]}
      derive: {train.lr: 0.03, train.max_tokens: 32768}
  main:
    tokens: {from: tune, rule: tokens_to_convergence, safety: 1.5}
  large:
    stop: budget
    tokens: {from: tune, rule: tokens_to_convergence}
    n_latents: {from: main, rule: next_sizes, gpu_hours: 0.05}
"""
)


def launched(study, runs, *more):
    given = study.overrides(
        f"runs={runs}", "launcher=local", "launcher.checkpoint_s=0.1", "launcher.heartbeat_s=0.1",
        "launcher.lease_s=1", "launcher.flops_per_s=1e6", "launcher.retries.lost=9", *more,
    )  # fmt: skip
    command = [sys.executable, "-m", "sweeps.verbs.cli", "launch", *given, "--wait"]
    return subprocess.Popen(command, text=True, stdout=subprocess.PIPE, start_new_session=True)


def kill(process, study):
    """Kill a launch and its workers at once."""
    os.killpg(process.pid, signal.SIGKILL)
    for folder in study.runs():
        for path in folder.claim_paths():
            pid = int(path.read_text().split()[1])
            if b"submitit" in _command(pid):
                os.kill(pid, signal.SIGKILL)
    process.wait()


def _command(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read()
    except OSError:
        return b""


def told(study):
    """All that a study found, without the times it took."""
    runs = {
        folder.run_id: [{k: v for k, v in row.items() if k not in CLOCKS} for row in folder.curve()]
        for folder in study.runs()
    }
    records = [PhaseFolder(study, phase).record() for phase in ("tune", "main", "large")]
    return runs, [(record.taken, record.runs, record.rules) for record in records]


@pytest.mark.slow
def test_killed_in_every_phase_it_equals_the_uninterrupted_study(tmp_path):
    study = PhaseStudy(tmp_path, TEXT)
    whole = launched(study, tmp_path / "whole")
    out, _ = whole.communicate(timeout=400)
    assert whole.returncode == 0, out
    calm = told(Study(tmp_path / "whole" / "two"))
    assert [len(runs) for _, runs, _ in calm[1]] == [7, 3, len(calm[1][2][0][0].value)]
    killed = Study(tmp_path / "killed" / "two")
    for ended in (
        0,
        4,
        8,
        10,
    ):  # runs, when it is killed: in each phase, and when main has just been launched
        process = launched(study, tmp_path / "killed")
        until = time.monotonic() + 120
        while time.monotonic() < until and process.poll() is None:
            states = [folder.status() for folder in killed.runs()]
            if sum(s.state in ENDED for s in states) >= ended and any(
                s.state == "running" and s.tokens for s in states
            ):
                break
            time.sleep(0.01)
        kill(process, killed)
    process = launched(study, tmp_path / "killed")
    out, _ = process.communicate(timeout=400)
    assert process.returncode == 0, out
    assert told(killed) == calm
    assert max(len(folder.claim_paths()) for folder in killed.runs()) >= 2
