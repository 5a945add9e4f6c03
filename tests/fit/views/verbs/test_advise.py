"""`saescale advise` as a user runs it: what it prints, and how it fails."""

import json

import numpy as np
import pandas as pd
import pytest

from fit.views.verbs import fit as fit_verb
from fit.views.verbs.advise import main


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Runs of one k that stopped at convergence, with their laws beside them: L_N, T_N and LR_N."""
    folder = tmp_path_factory.mktemp("study")
    rows, random = [], np.random.default_rng(0)
    for n in 2 ** np.arange(9, 16):
        best = 0.004 * n**-0.5
        for factor in (0.5, 1.0, 2.0):
            loss = (0.1 + 2 * n**-0.3) * (1 + 0.01 * np.log(factor) ** 2)
            loss *= np.exp(0.0005 * random.standard_normal())
            tokens = 3e5 * n**0.6 * np.exp(0.02 * random.standard_normal())
            row = {
                "run_id": f"{n}-{factor}",
                "state": "done",
                "converged": True,
                "stop": "converged",
                "k": 32,
            }
            row |= {"n_latents": n, "nmse": loss, "lr": best * factor, "seed": 0, "tokens": tokens}
            rows.append(row | {"batch_tokens": 2048, "d_model": 64, "epsilon": 0.01})
    pd.DataFrame(rows).to_parquet(folder / "runs.parquet")
    laws = [word for law in ("L_N", "T_N", "LR_N") for word in ("--law", law)]
    assert fit_verb.main([str(folder / "runs.parquet"), *laws]) == 0
    return folder


def test_the_plan_is_printed_with_what_is_missing(study, capsys):
    assert main([str(study), "--gpu-hours", "0.01"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(
        "C = 1.44e+16 FLOPs, 0.01 GPU-hours at 4e+14 FLOPs/s (assumed, 40 % of an H100's"
    )
    assert lines[1] == "counted as (2·n·d + 8·k·d)·tokens (sparse convention)"
    start = next(i for i, line in enumerate(lines) if line.startswith("converged, k=32"))
    assert "by T_N, L_N, LR_N; batch: 2,048 tokens, as in all rows; no other was tried" in lines[start]
    assert [line.split()[0] for line in lines[start + 2 : start + 5]] == ["half", "budget", "twice"]
    assert "× beyond the largest n_latents (32,768)" in lines[start + 3]
    assert lines[-2].startswith("missing: L_C is missing") and "--law L_ND" in lines[-1]


def test_json_holds_the_plan_in_full(study, capsys):
    assert main([str(study / "fits.json"), "k=32", "--flops", "1e14", "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    (plan,) = content["plans"]
    half, whole, twice = plan["spendings"]
    assert whole["flops"] == 1e14 and half["n_latents"]["value"] < whole["n_latents"]["value"]
    n, tokens = (whole[name]["value"] for name in ("n_latents", "tokens"))
    assert (2 * n + 8 * 32) * 64 * tokens == pytest.approx(1e14, rel=1e-6)  # d of the table beside
    assert twice["nmse"]["value"] < whole["nmse"]["value"] and content["convention"] == "sparse"


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["--flops", "0"], 1, "flops is 0: give a finite number above 0."),
        (["--flops", "inf"], 2, "--flops: must be a number of FLOPs, got inf."),
        (["--flops", "1e9", "--gpu-hours", "3"], 1, "give one of --flops and --gpu-hours"),
        ([], 1, "give one of --flops and --gpu-hours"),
        (["--flops", "1e9", "tokens=3"], 1, "No law of these fits has tokens"),
        (["--flops", "1e9", "k=64"], 1, "These fits do not say how to spend a budget."),
        (["--flops", "1e9", "--d-model", "-3"], 1, "d_model is -3: give a finite number above 0."),
        (["--flops", "much"], 2, "--flops: must be a number of FLOPs, got much."),
        (["--flops", "1", "--convention", "sparce"], 2, "Did you mean sparse?"),
    ],
)
def test_what_is_wrong_is_one_sentence(study, capsys, words, code, sentence):
    assert main([str(study), *words]) == code
    said = capsys.readouterr()
    assert sentence in said.err and said.err.startswith("saescale advise: ") and said.err.count("\n") == 1
    assert not said.out
