"""A run evaluates where it should, ends when it should, and continues from a checkpoint to the last bit."""

import json
import math

import pytest
import torch

from sae_core.config import DataKey, RunConfig, SAEConfig, TrainConfig
from sae_core.data.synthetic import Synthetic, SyntheticConfig
from sae_core.errors import CheckpointError
from sae_core.training.run import CLOCKS, Run

SOURCE = Synthetic(SyntheticConfig(d_model=16, n_features=300, l0=3.0, held_out=512, tail=False))
KEY = DataKey(SOURCE.fingerprint, 16)


def config(seed=0, **train):
    sae = SAEConfig(n_latents=48, k=3, dead_tokens=150, k_aux=8)
    defaults = {
        "lr": 3e-3,
        "batch_tokens": 64,
        "max_tokens": 4096,
        "first_eval_tokens": 256,
        "evals_per_doubling": 2,
    }
    return RunConfig(KEY, sae, TrainConfig(**(defaults | train)), seed).resolved()


def fresh(**values) -> Run:
    return Run(config(**values), torch.zeros(16), SOURCE.denominator)


def advance(run: Run, until: int) -> Run:
    while run.tokens < until:
        run.step(SOURCE.rows(run.tokens, run.config.train.batch_tokens, 0))
        if run.tokens >= run.next_evaluation():
            run.evaluate(SOURCE.held_out())
    return run


def without_clock(rows):
    return [{k: v for k, v in row.items() if k not in CLOCKS} for row in rows]


def test_evaluations_are_log_spaced_and_include_the_end():
    run = advance(fresh(), 4096)
    assert [row["tokens"] for row in run.curve] == [256, 384, 512, 768, 1024, 1472, 2048, 2944, 4096]
    assert run.outcome() == "done" and run.ended_by() == "budget"


def test_a_budget_that_is_not_whole_steps_ends_below_it():
    run = advance(fresh(max_tokens=1000), 960)
    assert run.tokens == 960 and run.outcome() == "done"


def test_training_lowers_the_loss():
    run = advance(fresh(), 4096)
    assert run.curve[-1]["nmse"] < 0.8 * run.curve[0]["nmse"]
    assert run.curve[-1]["nmse"] == min(run.curve[-1]["nmse_live"], run.curve[-1]["nmse_ema"])


def test_both_flop_conventions_are_in_every_row():
    run = advance(fresh(), 512)
    assert run.curve[-1]["flops_dense"] == 512 * 12 * 48 * 16
    assert run.curve[-1]["flops_sparse"] == 512 * (2 * 48 * 16 + 8 * 3 * 16) + run.flops_auxk


def test_dead_latents_are_found_and_auxk_acts_on_them():
    run = advance(fresh(), 4096)
    with_dead = [row for row in run.curve if row["dead_fraction"]]
    assert all(row["dead_fraction"] is None for row in run.curve if row["tokens"] <= 150)
    assert with_dead, "the test needs a run with dead latents"
    assert run.flops_auxk > 0 and any(row["auxk_loss"] for row in run.curve)


@pytest.mark.parametrize("cut", [64, 320, 1024, 2112, 4032])
def test_resumed_is_bit_identical(cut):
    whole = advance(fresh(), 4096)
    first = advance(fresh(), cut)
    meta = json.loads(json.dumps(first.meta()))
    saved = {k: v.clone() for k, v in first.tensors().items()}
    second = advance(fresh().restore(saved, meta), 4096)
    assert without_clock(second.curve) == without_clock(whole.curve)
    for name, tensor in whole.tensors().items():
        assert torch.equal(tensor, second.tensors()[name]), name


def test_a_checkpoint_of_another_config_is_refused():
    run = advance(fresh(), 128)
    with pytest.raises(CheckpointError, match="another config"):
        fresh(seed=1).restore(run.tensors(), run.meta())


def test_an_lr_that_is_too_large_diverges_as_a_result():
    run = advance(fresh(lr=1e20, max_tokens=512), 512)
    assert run.outcome() == "diverged" and run.ended_by() is None


def test_a_run_that_stops_at_convergence_falls_by_less_than_epsilon_if_it_is_trained_on():
    run = fresh(stop="converged", epsilon=0.2, max_tokens=100_000, lr=3e-2, ema=0.95)
    while run.outcome() is None:
        advance(run, run.tokens + 64)
    stopped, tokens = run.curve[-1]["nmse"], run.tokens
    assert run.convergence().converged and run.ended_by() == "converged" and tokens < 20_000
    advance(run, 2 * tokens)
    assert run.curve[-1]["nmse"] < stopped < 1.2 * run.curve[-1]["nmse"]


def to_the_end(run: Run) -> Run:
    while run.outcome() is None:
        advance(run, run.tokens + 64)
    return run


EARLY = {"stop": "predicted", "target": 0.2, "max_tokens": 100_000, "lr": 3e-2, "ema": 0.95}


@pytest.fixture(scope="module")
def early() -> Run:
    return to_the_end(fresh(**EARLY))


def test_a_run_stops_when_its_limit_is_known_to_within_the_target(early):
    first = to_the_end(fresh(**EARLY | {"target": 0.5}))
    rows = early.curve
    assert early.ended_by() == first.ended_by() == "predicted" and first.tokens < early.tokens < 20_000
    for run in (first, early):
        widths = []
        for count in range(1, len(run.curve) + 1):
            run.curve = rows[:count]
            widths.append(run.convergence().half_width)
        reached = [width is not None and width <= run.config.train.target for width in widths]
        assert reached == [False] * (len(reached) - 1) + [True]
    known = first.convergence()
    assert known.nmse_predicted_low < rows[-1]["nmse"] < known.nmse_predicted_high


@pytest.mark.parametrize("stop", ["converged", "predicted"])
def test_a_run_does_not_stop_before_two_lengths_of_its_warm_up(stop):
    """The loss is flat while the lr is small, and falls later: a curve to the end of which a run would stop."""
    changes = {"stop": stop, "max_tokens": 100_000, "evals_per_doubling": 4, "first_eval_tokens": 64}
    flat = [{"tokens": math.ceil(64 * 2 ** (j / 4)), "nmse": 0.5, "train_nmse": 0.5} for j in range(29)]
    for warmup, ends in ((0, 128), (1024, 2048), (1100, 2436), (8192, None)):
        run = fresh(**changes, warmup_tokens=warmup)
        for row in flat:
            run.curve.append({**row, "nmse_live": row["nmse"], "nmse_ema": row["nmse"]})
            run.tokens = row["tokens"]
            if run.outcome() is not None:
                break
        assert (run.tokens if run.ended_by() == stop else None) == ends


@pytest.mark.parametrize("at", [1024])
def test_a_run_that_was_killed_stops_early_at_the_same_evaluation(early, at):
    first = advance(fresh(**EARLY), at)
    assert first.tokens < early.tokens
    saved = {name: tensor.clone() for name, tensor in first.tensors().items()}
    second = to_the_end(fresh(**EARLY).restore(saved, json.loads(json.dumps(first.meta()))))
    assert without_clock(second.curve) == without_clock(early.curve)
    assert second.ended_by() == "predicted" and second.convergence() == early.convergence()
    assert all(
        torch.equal(a, b) for a, b in zip(early.tensors().values(), second.tensors().values(), strict=True)
    )


def test_a_checkpoint_from_before_a_setting_was_added_is_resumed():
    run = advance(fresh(), 128)
    meta = json.loads(json.dumps(run.meta()))
    del meta["config"]["train"]["target"]
    assert fresh().restore(run.tensors(), meta).tokens == 128


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_fused_update_is_the_same_training(precision, monkeypatch):
    """To the last bit on a CPU, also where latents die and the gradient is stored for a while."""
    stored, fused = fresh(precision=precision), fresh(precision=precision, fused_update=True)
    unsummed = []
    step = fused.optimizer.step
    monkeypatch.setattr(
        fused.optimizer, "step", lambda encoder, *rest: unsummed.append(encoder) or step(encoder, *rest)
    )
    advance(stored, 2048), advance(fused, 2048)
    assert {encoder is None for encoder in unsummed} == {False, True}, "the test needs steps of both kinds"
    assert without_clock(stored.curve) == without_clock(fused.curve)
    assert all(
        torch.equal(a, b) for a, b in zip(stored.tensors().values(), fused.tensors().values(), strict=True)
    )


def test_a_bf16_run_continues_to_the_last_bit():
    whole = advance(fresh(precision="bf16"), 2048)
    half = advance(fresh(precision="bf16"), 1024)
    saved = {name: tensor.clone() for name, tensor in half.tensors().items()}
    rest = advance(fresh(precision="bf16").restore(saved, json.loads(json.dumps(half.meta()))), 2048)
    assert all(
        torch.equal(a, b) for a, b in zip(whole.tensors().values(), rest.tensors().values(), strict=True)
    )
