"""The compute of B over that of A at equal loss: known ratios, identities, and what speaks against the number."""

import json

import numpy as np
import pandas as pd
import pytest

from fit.law.errors import FitError
from fit.law.options import FitOptions
from fit.study.answers.compute_ratio import compute_ratio, compute_ratios
from fit.study.fitting import prepared
from sweeps.verbs.cli import main

SIZES = [2**i for i in range(8, 17)]


def curves(cheaper=1.0, tilt=0.0, noise=0.0, seed=0, runs=1):
    """L = .1 + n^-.3 + .2 (D/n)^-.3; the compute of each point is `cheaper` · (C/1e10)^tilt times 12 n D."""
    rng = np.random.default_rng(seed)
    parts = []
    for n in SIZES:
        for run in range(runs):
            tokens = n * np.geomspace(0.05, 50, 30)
            loss = (0.1 + n**-0.3 + 0.2 * (tokens / n) ** -0.3) * np.exp(noise * rng.standard_normal())
            flops = 12 * n * tokens
            flops = flops * cheaper * (flops / 1e10) ** tilt
            part = {"run_id": f"{n}-{run}", "n_latents": n, "tokens": tokens, "step": range(30)}
            parts.append(
                pd.DataFrame({**part, "flops_sparse": flops, "nmse": loss, "lr_schedule": "constant"})
            )
    return pd.concat(parts, ignore_index=True)


def groups(table, draws=60):
    return prepared(table, None, None, None, FitOptions(draws=draws), print).curve_groups


def law(draws=60, **given):
    return groups(curves(**given), draws)[0]


@pytest.fixture(scope="module")
def plain():
    return law(noise=0.01)


@pytest.fixture(scope="module")
def other():
    return law(noise=0.01, seed=1, cheaper=0.7)


def test_doubled_compute_is_a_ratio_of_2(plain):
    doubled = compute_ratio(plain, law(noise=0.01, cheaper=2.0))
    assert doubled.ratio == pytest.approx(2, rel=1e-6) and doubled.direct == pytest.approx(2, rel=0.02)
    assert all(part.ratio == pytest.approx(2, rel=1e-5) for part in doubled.parts)
    assert doubled.constant and doubled.slope[0] == pytest.approx(0, abs=1e-5)


def test_a_against_itself_is_1_with_an_interval_around_it(plain):
    same = compute_ratio(plain, plain)
    assert same.ratio == same.direct == 1 and same.constant
    assert same.low <= 1 <= same.high and same.paired


def test_the_other_way_round_is_the_inverse(plain, other):
    one, back = compute_ratio(plain, other), compute_ratio(other, plain)
    assert one.ratio * back.ratio == pytest.approx(1, rel=1e-12)
    assert one.losses == back.losses
    assert one.low < 0.7 < one.high


def test_a_ratio_that_changes_with_the_loss_is_not_called_constant():
    one, tilted = law(noise=0.001), law(noise=0.001, seed=1, tilt=-0.15)
    ratio = compute_ratio(one, tilted)
    assert ratio.constant is False and ratio.slope[1] > 0
    assert ratio.parts[0].ratio > ratio.parts[1].ratio > ratio.parts[2].ratio
    assert [part.loss for part in ratio.parts] == sorted((part.loss for part in ratio.parts), reverse=True)


def test_frontiers_without_a_loss_in_common_are_refused(plain):
    worse = curves(noise=0.01)
    worse["nmse"] = worse["nmse"] * 10
    with pytest.raises(FitError, match="share no loss"):
        compute_ratio(plain, groups(worse)[0])


def test_groups_are_matched_by_k():
    table = pd.concat([curves().assign(k=k, run_id=lambda t, k=k: t["run_id"] + f"-{k}") for k in (8, 16)])
    both, one = groups(table, 20), groups(table[table["k"] == 16], 20)
    assert [ratio.group["k"] for ratio in compute_ratios(both, both)] == [8, 16]
    assert [ratio.group["k"] for ratio in compute_ratios(both, one)] == [16]
    with pytest.raises(FitError, match="no k that both"):
        compute_ratios(one, both[:1])


def written(path, table):
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(path, index=False)
    return str(path)


def test_the_command_says_it_in_a_sentence(tmp_path, capsys):
    a = written(tmp_path / "a.csv", curves(noise=0.01).drop(columns="step"))
    b = written(tmp_path / "b.csv", curves(noise=0.01, cheaper=2.0).drop(columns="step"))
    assert main(["compare", a, b, "--draws", "40"]) == 0
    first, second, *_ = capsys.readouterr().out.splitlines()
    assert (
        first.startswith("b.csv reaches a.csv's loss with 2.000 [2.000, 2.000]") and "of its compute" in first
    )
    assert "constant over this range" in second
    assert main(["compare", a, b, "--draws", "40", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["ratio"] == pytest.approx(2, rel=1e-6) and row["constant"] is True


def test_the_values_of_a_column_are_compared_with_the_first_or_the_base(tmp_path, capsys):
    parts = [
        curves(cheaper=times).assign(activation=name, run_id=lambda t, name=name: t["run_id"] + name)
        for name, times in (("topk", 1.0), ("relu", 3.0))
    ]
    path = written(tmp_path / "t.csv", pd.concat(parts).drop(columns="step"))
    assert main(["compare", path, "--by", "activation", "--draws", "20"]) == 0
    assert "relu reaches topk's loss with 3.00" in capsys.readouterr().out
    assert main(["compare", path, "--by", "activation", "--base", "relu", "--draws", "20"]) == 0
    assert "topk reaches relu's loss with 0.33" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "sentence", "code"),
    [
        (["t.csv"], "Give two sides", 2),
        (["t.csv", "t.csv", "--by", "activation"], "give one", 2),
        (["t.csv", "--by", "colour"], "no column colour", 1),
        (["t.csv", "--by", "activation", "--base", "gelu"], "No row has activation = gelu", 1),
        (["t.csv", "--by", "activation"], "nothing to compare", 1),
        (["t.csv", "absent.csv"], "absent.csv", 1),
    ],
)
def test_mistakes_are_sentences(tmp_path, monkeypatch, capsys, arguments, sentence, code):
    written(tmp_path / "t.csv", curves().assign(activation="topk").drop(columns="step"))
    monkeypatch.chdir(tmp_path)
    assert main(["compare", *arguments]) == code
    assert sentence in capsys.readouterr().err
