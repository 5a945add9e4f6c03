"""The tables hold every run, ended or not, in the types and columns of docs/tables.md; missing is missing."""

import re
from pathlib import Path

import pandas as pd
import pytest

from sweeps.dispatch.launch import launch
from sweeps.ledger.run_folder import Study
from sweeps.ledger.tables import CURVE_COLUMNS, LATENT_COLUMNS, RUN_COLUMNS, collect
from sweeps.planning.plan import make_plan
from sweeps.verbs.collect import main as collect_main
from sweeps.verbs.status import main as status_main
from sweeps.verbs.status import states


@pytest.fixture
def study(tiny, monkeypatch) -> Study:
    """Four runs: done, diverged, failed, and one that was never started."""
    from sae_core.training.run import Run

    step = Run.step

    def fail_seed_1(run, x, *more):
        if run.config.seed == 1 and run.steps == 8:
            raise KeyError("surprise")
        step(run, x, *more)

    monkeypatch.setattr(Run, "step", fail_seed_1)
    launch(make_plan(tiny("launcher=debug", "seed=0,1")))
    launch(make_plan(tiny("launcher=debug", "train.lr=1e20")))
    monkeypatch.setattr("sweeps.dispatch.launch.work", lambda *_: {})
    plan = make_plan(tiny("launcher=debug", "seed=2"))
    launch(plan)
    return plan.study


def test_every_run_is_a_row_and_missing_is_missing(study):
    runs, curves = collect(study)
    assert sorted(runs.state) == ["diverged", "done", "failed", "pending"]
    by_state = runs.set_index("state")
    done, failed, pending = by_state.loc["done"], by_state.loc["failed"], by_state.loc["pending"]
    assert done.nmse < 1 and done.steps == 16 and done.tokens == 1024 and done.nmse_oracle > 0
    assert done.flops_dense == 1024 * 12 * 32 * 16
    assert pd.isna(done.gpu_seconds) and pd.isna(done.dead_fraction)
    assert (failed.failure, failed.message) == ("bug", "KeyError: 'surprise'")
    assert failed.tokens == 512 and failed.nmse < 1 and pd.isna(failed.converged)
    assert pd.isna(pending.tokens) and pd.isna(pending.nmse) and pd.isna(pending.started)
    assert pd.isna(by_state.loc["diverged"].nmse)
    assert set(curves.run_id) == set(runs.run_id[runs.state != "pending"])


def test_columns_are_those_of_the_docs(study):
    page = Path(__file__).parents[3].joinpath("docs/tables.md").read_text()
    page, latents_page = page.split("## latents.parquet")
    runs_page, curves_page = page.split("## curves.parquet")
    rows = [line for line in runs_page.splitlines() if line.startswith("| `")]
    documented = [name for line in rows for name in re.findall(r"`(\w+)`", line.split("|")[1])]
    assert documented == list(RUN_COLUMNS)
    assert re.findall(r"`(\w+)`", curves_page) == list(CURVE_COLUMNS)
    rows = [line for line in latents_page.splitlines() if line.startswith("| `")]
    documented = [name for line in rows for name in re.findall(r"`(\w+)`", line.split("|")[1])]
    assert documented == list(LATENT_COLUMNS)
    runs, curves = collect(study)
    assert list(runs.columns) == list(RUN_COLUMNS) and list(curves.columns) == list(CURVE_COLUMNS)


def test_written_and_read_back(study, capsys):
    assert collect_main([str(study.path)]) == 0
    assert "4 runs (1 diverged, 1 done, 1 failed, 1 pending)" in capsys.readouterr().out
    again = pd.read_parquet(study.path / "runs.parquet")
    pd.testing.assert_frame_equal(again, collect(study)[0], check_dtype=False)


def test_status_says_the_same(study, capsys):
    frame = states(study)
    assert sorted(frame.state) == ["diverged", "done", "failed (bug)", "pending"]
    assert status_main([str(study.path)]) == 1  # something failed
    out = capsys.readouterr().out
    assert "KeyError: 'surprise'" in out and "1 failed (bug)" in out


def test_a_run_whose_worker_is_gone_is_stopped_not_running(study):
    from sweeps.ledger.run_folder import Status

    folder = next(f for f in study.runs() if f.status().state == "pending")
    folder.set_status(Status("running", 64))
    assert "stopped" in set(states(study).state)


def test_a_folder_that_cannot_be_read_is_a_row_and_hides_no_other(study, capsys):
    damaged = next(f for f in study.runs() if f.status().state == "done")
    (damaged.path / "config.yaml").write_text("{: [")
    runs, _ = collect(study)
    row = runs.set_index("run_id").loc[damaged.run_id]
    assert row.state == "unreadable" and "config.yaml" in row.message and pd.isna(row.n_latents)
    assert len(runs) == 4 and status_main([str(study.path)]) == 1
    assert "unreadable" in capsys.readouterr().out


@pytest.mark.parametrize("main", [collect_main, status_main])
def test_no_study_is_a_sentence(main, tmp_path, capsys):
    assert main([str(tmp_path / "absent")]) == 1
    err = capsys.readouterr().err
    assert "No study at" in err and err.count("\n") == 1
    assert main([]) == 1
    assert "Name one study" in capsys.readouterr().err
