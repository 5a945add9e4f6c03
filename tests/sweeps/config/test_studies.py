"""The ready studies in conf/study: each can be planned, and runs end to end when it is 64 times smaller."""

import pandas as pd
import pytest

from sweeps.config.schema import conf_dir
from sweeps.ledger.phase_record import PhaseFolder
from sweeps.ledger.run_folder import ENDED, Study
from sweeps.planning.phased import make_plans
from sweeps.verbs import collect, launch, plan

SIZE = {"d_model": 12, "n_features": 1024, "held_out": 1024}
# What makes a study small enough for a CPU: the width by 64, the sizes by 128, k by 16, batch and tokens by more; lr
# grows as the sizes fall.
SMALLER = {
    "geom(2048, 131072, 2)": "geom(16, 1024, 2)",
    "geom(2048, 65536, 2)": "geom(16, 512, 2)",
    "geom(2048, 32768, 2)": "geom(16, 256, 2)",
    "geom(2048, 131072, 4)": "geom(32, 512, 4)",
    "[16384]": "[128]",
    "[8, 16, 32, 64, 128]": "[1, 2, 3, 4, 8]",
    "sae.k: [32]": "sae.k: [2]",
    "geom(1e-4, 32e-4, 2)": "geom(15e-4, 96e-3, 2)",
    "geom(5e-5, 32e-4, 2)": "geom(15e-4, 24e-3, 4)",
    "2e-4 * sqrt(16384": "2e-2 * sqrt(64",
    "1.3e9": "2.4e4",
    "n_latents / 2048": "n_latents / 16",
    "grid: gpt2_small": "grid: small",
    "data: gpt2": "data: synthetic",
    # Runs this short still fall by 5 % a doubling, and at 3 of 5 n the lowest L∞ is at an edge of the lr: no LR_N.
    "rule: lr_law}": "rule: lr_law, regime: lc}",
}
RUNS = {
    "demo": [21],
    "demo_phases": [25, 7],
    "activations": [30],
    "batch_size": [27],
    "regimes": [90],
    "gpt2_small": [30, 35],
    "gao2024": [36, 28, 35],
}


def synthetic(values):
    return [f"data.synthetic.{name}={value}" for name, value in values.items()]


@pytest.mark.parametrize("study", RUNS)
def test_study_can_be_planned(study, tmp_path):
    assert [len(one.runs) for one in make_plans([f"study={study}", f"runs={tmp_path}"])] == RUNS[study]


def test_every_study_is_among_them():
    assert {path.stem for path in (conf_dir() / "study").glob("*.yaml")} == {*RUNS, "smollm2", "regimes_lm"}


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


@pytest.mark.slow
@pytest.mark.parametrize("study", ["gpt2_small", "gao2024"])
def test_study_in_phases_runs_more_than_64_times_smaller(study, tmp_path):
    for source, target in ((f"study/{study}", f"study/small_{study}"), ("grid/gpt2_small", "grid/small")):
        text = (conf_dir() / f"{source}.yaml").read_text()
        for old, new in SMALLER.items():
            text = text.replace(old, new)
        path = tmp_path / "conf" / f"{target}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    small = [
        f"study=small_{study}", f"hydra.searchpath=[file://{tmp_path / 'conf'}]", f"runs={tmp_path}", *synthetic(SIZE),
        "train.precision=fp32", "train.epsilon=0.5", "train.ema=0.9", "train.first_eval_tokens=512",
        "sae.dead_tokens=4096", "launcher=debug",
    ]  # fmt: skip
    given = small if study == "gao2024" else [*small, "train.batch_tokens=128"]
    if study == "gao2024":
        given += ["+phases.lr.train.batch_tokens=128", "+phases.grid.train.batch_tokens=128"]
    assert launch.main(given) == 0
    plans = make_plans(given)
    assert all(state in ENDED for one in plans for state in one.states.values())
    last = PhaseFolder(Study(tmp_path / study), plans[-1].phase).record()
    assert {one.key for one in last.taken} == {"train.lr", "train.max_tokens"} and not last.stopped
    assert all(one.low <= one.value <= one.high for one in last.taken)
