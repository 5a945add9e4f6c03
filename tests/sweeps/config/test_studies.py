"""The ready studies in conf/study: each can be planned, and runs end to end when it is 64 times smaller."""

import pandas as pd
import pytest

from sweeps.config.schema import conf_dir
from sweeps.ledger.run_folder import ENDED
from sweeps.planning.phased import make_plans
from sweeps.verbs import collect, launch, plan

SIZE = {"d_model": 12, "n_features": 1024, "held_out": 1024}
RUNS = {
    "demo": [21],
    "demo_lr": [25],
    "demo_tuned": [7],
    "demo_phases": [25, 7],
    "activations": [30],
    "batch_size": [27],
    "regimes": [72],
    "gpt2_small": [30, 35],
    "gao2024": [36, 28, 35],
}


def synthetic(values):
    return [f"data.synthetic.{name}={value}" for name, value in values.items()]


@pytest.mark.parametrize("study", RUNS)
def test_study_can_be_planned(study, tmp_path):
    assert [len(one.runs) for one in make_plans([f"study={study}", f"runs={tmp_path}"])] == RUNS[study]


def test_every_study_is_among_them():
    assert {path.stem for path in (conf_dir() / "study").glob("*.yaml")} == {*RUNS, "smollm2"}


def test_hours_by_phase_on_a_gpu_are_told_before_there_are_activations(capsys, tmp_path):
    assert plan.main(["study=gpt2_small", "launcher=slurm", f"runs={tmp_path}"]) == 0
    out = capsys.readouterr().out
    assert "to be harvested first: stores/gpt2-l9 does not exist" in out and "1.54 TB" in out
    assert "H100 by its data sheet, assuming 40% of its peak and 50% of its 3.35 TB/s; not measured" in out
    phases = out[out.index("all phases") :].splitlines()
    assert [line.split()[0] for line in phases[2:5]] == ["tune", "main", "2"] and "guesses" in phases[3]
    assert launch.main(["study=gpt2_small", "launcher=debug", f"runs={tmp_path}"]) == 1
    assert "stores/gpt2-l9 does not exist: saescale harvest" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize(("study", "more"), [
    ("demo", []),
    ("activations", []),
    ("batch_size", []),
    ("regimes", ["train.max_tokens=18750"]),
    ("smollm2", ["sae.k=4,8", "sae.n_latents=16,32,64"]),
])  # fmt: skip
def test_study_of_one_phase_runs_64_times_smaller(study, more, tmp_path, capsys):
    tokens = [] if any("max_tokens" in one for one in more) else ["train.max_tokens=15625"]
    given = [f"study={study}", "data=synthetic", *synthetic(SIZE | {"d_model": 32, "held_out": 4096})]
    given += [f"runs={tmp_path}", "launcher=debug", "train.first_eval_tokens=256", *tokens, *more]
    assert launch.main(given) == 0
    assert collect.main([str(tmp_path / study)]) == 0
    runs = pd.read_parquet(tmp_path / study / "runs.parquet")
    assert set(runs.state) <= set(ENDED) and len(runs) >= 5
