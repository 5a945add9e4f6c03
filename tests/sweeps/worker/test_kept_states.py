"""A run whose lr decays branches off the state that an ended run has kept, and is what it would have been without."""

import pytest
import torch
from safetensors.torch import load_file

from sae_core.training import checkpoint
from sae_core.training.run import CLOCKS, Run
from sweeps.dispatch.launch import launch, write_runs
from sweeps.ledger.tables import collect
from sweeps.planning.plan import make_plan
from sweeps.planning.table import branches, kept_states
from sweeps.worker.worker import work

DECAYED = ("train.lr_schedule=linear", "train.max_tokens=2560,4096")  # constant until 2,048 and 3,264
KEEP = "launcher.keep_state=true"


def launched(overrides):
    launch(make_plan([*overrides, "launcher=debug"]))
    return make_plan([*overrides, "launcher=debug"])


def counted(monkeypatch):
    """The steps that are taken from now on, by their runs."""
    step, taken = Run.step, []
    monkeypatch.setattr(Run, "step", lambda run, *more: taken.append(run.tokens) or step(run, *more))
    return taken


def curve(folder):
    return [{name: value for name, value in row.items() if name not in CLOCKS} for row in folder.curve()]


@pytest.mark.slow
def test_later_decays_branch_off_a_kept_state_to_the_last_bit(tiny, monkeypatch):
    first = launched(tiny("train.max_tokens=2048", "sae.dead_tokens=500", KEEP))
    (ended,) = first.study.runs()
    assert checkpoint.newest(ended.checkpoints) == 32 and len(list(ended.checkpoints.iterdir())) == 2
    later = tiny(*DECAYED, "sae.dead_tokens=500", "launcher.flops_per_s=1e6")
    plan = make_plan(later)
    assert kept_states(plan) == [
        "2 runs branch off the kept states of 1 ended run: 4.10e+03 tokens are not trained again."
    ]
    assert not branches(plan)
    each = (2 * 16 * 32 + 8 * 2 * 16) / 3600e6
    assert plan.hours(plan.todo) == pytest.approx((2560 - 2048 + 4096 - 2048) * each)
    taken = counted(monkeypatch)
    launched(later)
    assert len(taken) == 8 + 32 and min(taken) == 2048
    monkeypatch.undo()
    alone = launched([*later, "name=alone"])
    runs = collect(plan.study)[0].set_index("run_id")
    for run in alone.runs:
        folder, other = alone.study.run(run.run_id), plan.study.run(run.run_id)
        assert curve(folder) == curve(other) and runs.loc[run.run_id, "shared_tokens"] == 2048
        a, b = load_file(folder.weights_path), load_file(other.weights_path)
        assert all(torch.equal(a[name], b[name]) for name in a)
        assert {path.name for path in other.checkpoints.iterdir()} == {"weights.safetensors"}


def test_without_a_kept_state_the_plan_says_what_is_trained_again(tiny, monkeypatch):
    launched(tiny("train.max_tokens=2048"))
    later = tiny(*DECAYED, "launcher.flops_per_s=1e6")
    plan = make_plan(later)
    (line,) = kept_states(plan)
    hours = 2048 * (2 * 16 * 32 + 8 * 2 * 16) / 3600e6
    assert line.startswith(
        "1 run trains again on what an ended run was trained on, whose state there was not kept"
    )
    assert f"2.05e+03 tokens and {hours:.2g} h." in line and "launcher.keep_state=true" in line
    taken = counted(monkeypatch)
    launched(later)
    assert len(taken) == 64 + 8


def test_a_state_that_is_lost_after_the_launch_is_trained_anew_and_one_beyond_is_not_taken(tiny, capsys):
    first = launched(tiny("train.max_tokens=3072", KEEP))
    (ended,) = first.study.runs()
    plan = make_plan(tiny(*DECAYED))
    assert [plan.starts[run.run_id].tokens for run in plan.todo if run.run_id in plan.starts] == [3072]
    shorter = min(plan.todo, key=lambda run: run.config.train.budget)
    assert plan.ended_runs.repeated(shorter.config) == 2048 and shorter.run_id not in plan.starts
    checkpoint.clear(ended.checkpoints)
    write_runs(plan)
    work(str(plan.study.path), [run.run_id for run in plan.todo], plan.launcher)
    assert {folder.status().state for folder in plan.study.runs()} == {"done"}
    assert "begins at its first step" in capsys.readouterr().out
