"""NMSE is the centred one; densities and mean squares are those of the dense activations, and reach their table."""

import pandas as pd
import pytest
import torch

from sae_core.config import SAEConfig
from sae_core.model import SAE
from sae_core.training import evaluation
from sae_core.training.evaluation import evaluate, histogram, latent_statistics
from sweeps.dispatch.launch import launch
from sweeps.ledger.tables import LATENT_COLUMNS, collect_latents, write_tables
from sweeps.planning.plan import make_plan


def test_predicting_the_mean_gives_one():
    x = torch.randn(1000, 8) + 5
    sae = SAE(SAEConfig(n_latents=4, k=1), 8).init_(x.mean(0), seed=0)
    with torch.no_grad():
        sae.W_enc.zero_()
    denominator = float((x - x.mean(0)).pow(2).sum(1).mean())
    assert evaluate(sae, x, denominator).nmse == pytest.approx(1.0, rel=1e-5)
    assert evaluate(sae, x, denominator).l0 == 0


def test_cut_into_parts(monkeypatch):
    x = torch.randn(333, 8)
    sae = SAE(SAEConfig(n_latents=16, k=3), 8).init_(torch.zeros(8), seed=0)
    whole = evaluate(sae, x, 1.0)
    monkeypatch.setattr(evaluation, "_ELEMENTS", 16 * 10)
    parts = evaluate(sae, x, 1.0)
    assert parts.nmse == pytest.approx(whole.nmse, rel=1e-6)
    assert parts.l0 == whole.l0


def test_statistics_are_those_of_the_dense_activations(monkeypatch):
    x = torch.randn(333, 8)
    sae = SAE(SAEConfig(n_latents=16, k=3), 8).init_(torch.zeros(8), seed=0)
    with torch.no_grad():
        sae.W_enc[5] = 0  # a latent that is among the top k at times, and never above 0
        dense = torch.zeros(333, 16).scatter(1, *reversed(sae.encode(x)))
    monkeypatch.setattr(evaluation, "_ELEMENTS", 16 * 10)
    density, square = latent_statistics(sae, x)
    torch.testing.assert_close(density, (dense > 0).double().mean(0))
    torch.testing.assert_close(square, dense.double().pow(2).mean(0), rtol=1e-6, atol=0)
    assert density[5] == 0 and density.sum() == pytest.approx(float((dense > 0).sum()) / 333)


def test_every_latent_counts_once_whatever_its_value():
    found = histogram(torch.tensor([0.0, 0.0, 1e-30, 10**-6.9, 0.5, 1.0, 1e9]), -7, 0)
    assert len(found["counts"]) == 28 and found["never"] == 2
    assert found["counts"][0] == 2 and found["counts"][-1] == 2 and found["counts"][-2] == 1
    assert sum(found["counts"]) + found["never"] == 7


def test_collect_writes_them_for_the_runs_that_have_them(tiny):
    launch(make_plan(tiny("launcher=debug", "sae.n_latents=32,64")))
    plan = make_plan(tiny("launcher=debug", "train.lr=1e20"))
    launch(plan)
    paths = write_tables(plan.study)
    assert [p.name for p in paths] == ["runs.parquet", "curves.parquet", "latents.parquet"]
    table, runs = pd.read_parquet(paths[2]), pd.read_parquet(paths[0]).set_index("run_id")
    assert list(table.columns) == list(LATENT_COLUMNS)
    assert set(table.run_id) == set(runs.index[runs.state == "done"])  # and not the diverged one
    sums = table.groupby(["run_id", "quantity"])["count"].sum()
    for (run_id, _), total in sums.items():
        assert total == runs.n_latents[run_id]
    bins = table.dropna(subset=["low"])
    assert (bins["high"] - bins["low"] == 0.25).all() and (table["count"] > 0).all()


def test_no_file_where_no_run_has_them(tiny):
    plan = make_plan(tiny("launcher=debug"))
    launch(plan)
    (folder,) = plan.study.runs()
    (folder.path / "latents.json").unlink()
    assert collect_latents(plan.study).empty
    assert [p.name for p in write_tables(plan.study)] == ["runs.parquet", "curves.parquet"]
