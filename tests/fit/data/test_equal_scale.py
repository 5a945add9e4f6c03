"""Rows at equal scale: their best lr, and the column that explains why they differ."""

import numpy as np
import pandas as pd
import pytest

from fit.data.equal_scale import explaining, lowest_lr, told_apart
from fit.law.errors import FitError

RNG = np.random.default_rng(0)
N, LR, SEEDS = np.meshgrid(2.0 ** np.arange(9, 15), [1e-4, 2e-4, 4e-4], [0, 1], indexing="ij")
TABLE = pd.DataFrame({"n_latents": N.ravel(), "lr": LR.ravel(), "seed": SEEDS.ravel()})
TABLE["nmse"] = (0.1 + 2 * TABLE["n_latents"] ** -0.3) * (1 + 0.02 * np.log(TABLE["lr"] / 2e-4) ** 2)
TABLE["nmse"] *= np.exp(0.002 * RNG.standard_normal(len(TABLE)))
CELL = ["n_latents", "lr"]


def test_the_lr_with_the_lowest_mean_over_seeds_is_kept_with_all_its_seeds():
    kept = lowest_lr(TABLE, "nmse", ["n_latents"])
    assert set(kept["lr"]) == {2e-4} and len(kept) == 12
    lucky = TABLE.copy()
    lucky.loc[(lucky["lr"] == 4e-4) & (lucky["seed"] == 0), "nmse"] *= 0.985
    assert set(lowest_lr(lucky, "nmse", ["n_latents"])["lr"]) == {2e-4}
    assert lowest_lr(TABLE.drop(columns="lr"), "nmse", ["n_latents"]) is not None


@pytest.mark.parametrize(
    "column",
    [
        {"final_loss": TABLE["nmse"] * 1.01},
        {"noise": RNG.standard_normal(36)},
        {"random_seed": TABLE["seed"]},
        {"tokens_per_second": TABLE["seed"]},
        {"run": TABLE["seed"]},
        {"width": TABLE["n_latents"]},
    ],
)
def test_results_seeds_names_and_noise_explain_nothing(column):
    effect = np.exp(0.05 * TABLE["seed"])
    assert explaining(TABLE.assign(nmse=TABLE["nmse"] * effect, **column), "nmse", CELL) is None


def test_a_setting_that_explains_the_scatter_is_measured():
    table = pd.concat(
        [TABLE.assign(optimizer=o, nmse=TABLE["nmse"] * e) for o, e in (("adam", 1), ("sgd", 1.1))]
    )
    factor = explaining(table, "nmse", CELL)
    assert factor.column == "optimizer" and factor.values == ("adam", "sgd")
    assert factor.spread == pytest.approx(np.log(1.1) / 2, rel=0.05) and factor.share > 0.99
    (caution,) = told_apart(table, "nmse", CELL, "L_N", pooled=False)
    assert "differ by ±4.8 % with optimizer (2 values)" in caution.text and "--map" not in caution.text
    assert "--where \"optimizer == 'adam'\"" in caution.text


def test_a_large_effect_is_refused_unless_the_rows_are_to_be_pooled():
    table = pd.concat([TABLE.assign(topk=k, nmse=TABLE["nmse"] * e) for k, e in ((16, 1), (32, 0.7))])
    with pytest.raises(FitError, match=r"if it is k, --map k=topk"):
        told_apart(table, "nmse", CELL, "L_N", pooled=False)
    assert len(told_apart(table, "nmse", CELL, "L_N", pooled=True)) == 1


def test_a_learning_rate_under_another_name_is_recognised():
    table = TABLE.rename(columns={"lr": "learning rate"})
    (caution,) = told_apart(table, "nmse", ["n_latents"], "L_N", pooled=False)
    assert "with --map lr=learning rate the lowest loss counts" in caution.text
    assert "`learning rate` == 0.0001" in caution.text
