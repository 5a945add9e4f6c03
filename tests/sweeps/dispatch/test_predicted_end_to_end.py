"""The demo with runs that stop when their L∞ is known: from the config to the report, on small data."""

import json

import pandas as pd
import pytest

from fit.views.verbs.fit import main as fit
from sweeps.verbs import collect, launch, report

SMALL = [
    "study=demo", "launcher=debug", "launcher.runs_per_pack=5", "train.stop=predicted", "train.target=0.3",
    "sae.n_latents=24,32,48,64,96", "sae.k=2", "train.batch_tokens=128", "train.first_eval_tokens=2048",
    "train.max_tokens=49152", "train.lr=1e-2", "train.ema=0.9", "data.synthetic.d_model=16",
    "data.synthetic.n_features=300", "data.synthetic.l0=3", "data.synthetic.tail=false",
    "data.synthetic.held_out=512",
]  # fmt: skip


@pytest.mark.slow
def test_the_demo_with_runs_that_stop_when_their_limit_is_known(tmp_path, capsys):
    assert launch.main([*SMALL, f"runs={tmp_path}"]) == 0
    study = tmp_path / "demo"
    assert collect.main([str(study)]) == 0
    runs = pd.read_parquet(study / "runs.parquet")
    early = runs[runs["ended_by"] == "predicted"]
    assert len(runs) == 5 and (runs["state"] == "done").all() and len(early) >= 4
    assert (early["tokens"] < early["max_tokens"]).all()
    low, high = (early[f"nmse_predicted_{end}"] for end in ("low", "high"))
    assert (high - low <= 2 * 0.3 * early["nmse_predicted"] * 1.001).all() and (low <= high).all()
    late = runs[runs["ended_by"] != "predicted"]
    assert set(late["ended_by"]) <= {"budget"}
    capsys.readouterr()
    assert fit([str(study / "runs.parquet")]) == 0
    law = next(one for one in json.loads((study / "fits.json").read_text())["fits"] if one["law"] == "L_N")
    text = " ".join(one["text"] for one in law["cautions"])
    assert (
        law["rows"] == 5
        and "5 runs are at the L∞ that the trainer predicted, weighted by its interval" in text
    )
    used = {int(point["n_latents"]): point["nmse"] for point in law["points"]}
    expected = runs.set_index("n_latents")["nmse_predicted"].to_dict()
    assert used == pytest.approx(expected)
    assert report.main([str(study)]) == 0
    assert (study / "report.html").stat().st_size > 10_000
