"""The tables hold every run, ended or not, in the columns of `fit.data.columns`; missing is missing."""

from dataclasses import fields as fields_of

import pandas as pd
import pytest

from fit.data.columns import CURVES, LATENTS, RUNS, dtypes
from sae_core.config import DataKey, RunConfig, SAEConfig, TrainConfig
from sae_core.data.configs import ArrayConfig, HarvestConfig, StreamingConfig, SyntheticConfig
from sweeps.config import schema
from sweeps.dispatch.launch import launch
from sweeps.dispatch.states import states
from sweeps.ledger.run_folder import Study
from sweeps.ledger.tables import collect, collect_latents
from sweeps.planning.plan import make_plan
from sweeps.verbs.collect import main as collect_main
from sweeps.verbs.status import main as status_main


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


def test_columns_and_their_types_are_those_of_the_one_table(study):
    for frame, columns in zip(
        (*collect(study), collect_latents(study)), (RUNS, CURVES, LATENTS), strict=True
    ):
        assert {name: str(dtype) for name, dtype in frame.dtypes.items()} == dtypes(columns)
        assert list(frame.columns) == [column.name for column in columns]


def test_every_setting_of_a_run_is_a_column():
    """A new field of a config has to get a column, or be named here as one that the fingerprint of the data covers."""
    keys = {column.key for column in RUNS if column.key}
    settings = {
        f"{part}.{f.name}" for part, of in (("sae", SAEConfig), ("train", TrainConfig)) for f in fields_of(of)
    }
    settings |= {f"data.{f.name}" for f in fields_of(DataKey)} | {f.name for f in fields_of(RunConfig)} - {
        *CONFIGS
    }
    assert settings <= keys
    data = {f"data.{f.name}" for f in fields_of(schema.Data)} - {f"data.{part}" for part in DATA_CONFIGS}
    data |= {f"data.{part}.{f.name}" for part, of in DATA_CONFIGS.items() for f in fields_of(of)}
    assert data - keys == {f"data.{name}" for name in BEHIND_THE_FINGERPRINT}
    assert keys <= settings | data


CONFIGS = ("data", "sae", "train")
DATA_CONFIGS = {
    "synthetic": SyntheticConfig, "harvest": HarvestConfig, "array": ArrayConfig, "streaming": StreamingConfig
}  # fmt: skip
BEHIND_THE_FINGERPRINT = {
    *(f"synthetic.{name}" for name in ("d_model", "held_out", "tail")),
    *(f"harvest.{f.name}" for f in fields_of(HarvestConfig)),
    *(f"array.{f.name}" for f in fields_of(ArrayConfig)),
    *(f"streaming.{f.name}" for f in fields_of(StreamingConfig)),
} - {f"harvest.{name}" for name in ("model", "text", "prepare", "layer", "context")}


def test_every_setting_is_collected_from_its_key(study):
    """Each value of a run's config.yaml that a column claims to hold, found again in that column."""
    runs = collect(study)[0].set_index("run_id")
    for folder in study.runs():
        config = folder.config()
        data, run = config["data"], config["run"]
        row = runs.loc[folder.run_id]
        for name, value in (run["sae"] | run["train"]).items():
            if name != "micro_batch_tokens":  # the run tells what the memory allowed
                assert row[name] == value if value is not None else pd.isna(row[name]), name
        assert (row["seed"], row["shuffle_seed"]) == (run["seed"], run["data"]["shuffle_seed"])
        assert (row["data"], row["data_fingerprint"]) == (data["name"], run["data"]["fingerprint"])
        synthetic = data["synthetic"]
        assert (row["features_per_token"], row["dictionary_seed"]) == (synthetic["l0"], synthetic["seed"])
        assert (row["n_features"], row["d_model"]) == (synthetic["n_features"], synthetic["d_model"])
        assert pd.isna(row["model"]) and pd.isna(row["store"])


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
    assert main([]) == 2
    assert "required: STUDY" in capsys.readouterr().err
