"""Warm-up and decay: the lr of each step, and runs that branch off one another to the last bit."""

import math
from dataclasses import replace

import pytest
import torch

from sae_core.config import DataKey, RunConfig, SAEConfig, TrainConfig, validate
from sae_core.data.synthetic import Synthetic, SyntheticConfig
from sae_core.errors import ConfigError
from sae_core.training.pack import start_point, train_pack
from sae_core.training.run import CLOCKS, Run
from sae_core.training.schedule import rate

SOURCE = Synthetic(SyntheticConfig(d_model=16, n_features=300, l0=3.0, held_out=256))
START = start_point(SOURCE)


def train(**changes) -> TrainConfig:
    return TrainConfig(lr=3e-3, batch_tokens=64, first_eval_tokens=128, **{"max_tokens": 1280} | changes)


def config(**changes) -> RunConfig:
    return RunConfig(
        DataKey(SOURCE.fingerprint, 16), SAEConfig(n_latents=32, k=2), train(**changes)
    ).resolved()


def run(**changes) -> Run:
    return Run(config(**changes), START, SOURCE.denominator)


def rates(**changes) -> list[float]:
    one = config(**changes).train
    return [rate(one, tokens) for tokens in range(0, one.budget, one.batch_tokens)]


def counted(one: Run) -> Run:
    """The run, which counts the steps that it is trained on in `one.taken`."""
    one.taken = 0
    step = one.step

    def counting(*args):
        one.taken += 1
        step(*args)

    one.step = counting
    return one


def same(one: Run, other: Run) -> None:
    for name, tensor in one.tensors().items():
        assert torch.equal(tensor, other.tensors()[name]), name
    strip = [{k: v for k, v in row.items() if k not in CLOCKS} for row in one.curve]
    assert strip == [{k: v for k, v in row.items() if k not in CLOCKS} for row in other.curve]
    assert (one.tokens, one.steps, one.evaluations, one.flops_sparse) == (
        other.tokens, other.steps, other.evaluations, other.flops_sparse,
    )  # fmt: skip


def test_the_rate_of_each_step():
    assert rates() == [1.0] * 20
    assert rates(warmup_tokens=256) == [0.25, 0.5, 0.75] + [1.0] * 17
    assert rates(warmup_steps=4) == rates(warmup_tokens=256)
    assert rates(lr_schedule="linear") == pytest.approx([1.0] * 17 + [0.75, 0.5, 0.25])
    assert rates(lr_schedule="sqrt", decay_share=0.2)[16:] == [
        pytest.approx(1 - math.sqrt(i / 4)) for i in range(4)
    ]
    cosine = [pytest.approx((1 + math.cos(math.pi * i / 20)) / 2) for i in range(20)]
    assert rates(lr_schedule="cosine", decay_share=1.0) == cosine


def test_the_optimizer_follows_the_rate():
    one, half = run(), run()
    x = SOURCE.rows(0, 64, seed=0)
    before = {name: p.detach().clone() for name, p in one.sae.named_parameters()}
    for each, factor in ((one, 1.0), (half, 0.5)):
        out = each._gradients(x, None, False)
        each.optimizer.step(out.encoder, each.ema, factor)
    for name in ("W_enc", "b_pre"):  # W_dec is renormalised afterwards
        full, less = (each.sae.get_parameter(name) - before[name] for each in (one, half))
        torch.testing.assert_close(less, full / 2, rtol=1e-4, atol=1e-7)


def test_a_warm_up_in_steps_is_the_same_run_as_in_tokens():
    assert config(warmup_steps=4) == config(warmup_tokens=256)
    assert config(decay_share=0.1) == config()  # a constant lr has no decay


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"warmup_tokens": 1200, "lr_schedule": "linear"}, "shorten the warm-up or the decay"),
        ({"warmup_tokens": 2000}, "takes 2,000 tokens, more than the 1,280 that the budget has"),
        ({"warmup_tokens": 64, "warmup_steps": 1}, "give one of them"),
        ({"warmup_steps": -1}, "warmup_steps is -1"),
        ({"lr_schedule": "linear", "stop": "converged"}, "must end there"),
        ({"lr_schedule": "linear", "decay_share": 0.0}, "decay_share is 0.0"),
        ({"lr_schedule": "step"}, "one of constant, linear, sqrt, cosine"),
    ],
)
def test_impossible_schedules_are_refused(changes, words):
    with pytest.raises(ConfigError, match=words):
        validate(config(**changes))


SCHEDULES = [
    {"lr_schedule": "linear", "max_tokens": 640},
    {"lr_schedule": "sqrt", "max_tokens": 1280, "decay_share": 0.4},
    {"lr_schedule": "linear", "max_tokens": 1600},  # constant until 1,280, the budget of the constant run
    {"max_tokens": 1280},
]


def test_branched_off_one_constant_run_to_the_last_bit():
    alone = [run(**changes) for changes in SCHEDULES]
    for one in alone:
        list(train_pack([one], SOURCE))
    packed = [counted(run(**changes)) for changes in SCHEDULES]
    ends = [event.run for event in train_pack(packed, SOURCE) if event.kind == "done"]
    assert sorted(map(id, ends)) == sorted(map(id, packed))
    for one, other in zip(alone, packed, strict=True):
        same(one, other)
    # 20 steps of one constant run, and the decays of 2, 8 and 5 steps; each alone would take 10 + 20 + 25 + 20.
    assert sum(one.taken for one in packed) == 20 + 2 + 8 + 5
    assert [one.shared_tokens + 64 * one.taken for one in packed] == [one.tokens for one in packed]
    assert [one.shared_tokens for one in alone] == [0, 0, 0, 0]
    decayed = run(**SCHEDULES[0])
    assert decayed.convergence().converged is None


def test_other_runs_share_nothing():
    runs = [counted(run()), counted(run(warmup_tokens=128)), counted(run(adam_beta2=0.99))]
    list(train_pack(runs, SOURCE))
    assert [one.taken for one in runs] == [20, 20, 20]


@pytest.mark.parametrize("kill_at", [3, 11, 19, 22, 40, 61])
def test_killed_and_resumed_to_the_last_bit(kill_at):
    """Each run is saved after its own events, as a worker does it, so the saved runs are not equally far."""
    saved: dict[int, tuple] = {}
    runs = [run(**changes) for changes in SCHEDULES]
    index = {id(one): i for i, one in enumerate(runs)}
    for count, event in enumerate(train_pack(runs, SOURCE)):
        i = index[id(event.run)]
        if (count + i) % 3 == 0:
            event.run.catch_up()
            tensors = {name: t.detach().clone() for name, t in event.run.tensors().items()}
            saved[i] = tensors, event.run.meta() | {"curve": list(event.run.curve)}
        if count == kill_at:
            break
    again = [run(**changes) for changes in SCHEDULES]
    for i, state in saved.items():
        again[i].restore(*state)
    again = [counted(one) for one in again]
    list(train_pack(again, SOURCE))
    for changes, other in zip(SCHEDULES, again, strict=True):
        one = run(**changes)
        list(train_pack([one], SOURCE))
        same(one, other)


@pytest.mark.parametrize("stop_after", [5, 9, 13, 17, 23])
def test_stopped_between_evaluations_no_step_is_taken_twice(stop_after):
    """Each run has an event at each step of the one that is trained for it, and can be saved as far as that one is."""
    runs = [counted(run(**changes)) for changes in SCHEDULES]
    seen = [0] * len(runs)
    for event in train_pack(runs, SOURCE):
        i = next(i for i, one in enumerate(runs) if one is event.run)
        seen[i] = max(seen[i], event.run.reached)
        if max(one.taken for one in runs) == stop_after and not event.more:
            break
    for one in runs:
        one.catch_up()
    assert [one.tokens for one in runs] == seen
    live = [one.tokens for one in runs if not one.ended_by()]
    assert max(live) - min(live) in (0, 64)
    again = [
        run(**changes).restore(one.tensors(), one.meta())
        for changes, one in zip(SCHEDULES, runs, strict=True)
    ]
    again = [counted(one) for one in again]
    list(train_pack(again, SOURCE))
    assert sum(one.taken for one in (*runs, *again)) == 20 + 2 + 8 + 5
    for changes, other in zip(SCHEDULES, again, strict=True):
        one = run(**changes)
        list(train_pack([one], SOURCE))
        same(one, other)


def test_followers_of_a_run_that_is_abandoned_go_on_from_where_it_was():
    runs = [counted(run(**changes)) for changes in SCHEDULES]
    leader = runs[2]
    for event in train_pack(runs, SOURCE):
        leader.abandoned |= event.run is leader and leader.tokens == 448  # between its evaluations
    assert leader.tokens == 448 and sum(one.taken for one in runs) == 7 + 13 + 2 + 8
    for changes, other in zip(SCHEDULES, runs, strict=True):
        if other is not leader:
            one = run(**changes)
            list(train_pack([one], SOURCE))
            same(one, other)


def test_followers_of_a_run_that_fails_are_trained_themselves(monkeypatch):
    runs = [run(**changes) for changes in SCHEDULES]
    leader, step = runs[2], runs[2].step

    def explode(*args):
        if leader.tokens == 512:
            raise RuntimeError("a bug")
        step(*args)

    monkeypatch.setattr(leader, "step", explode)
    events = list(train_pack(runs, SOURCE))
    assert [event.run for event in events if event.kind == "failed"] == [leader]
    for changes, other in zip(SCHEDULES, runs, strict=True):
        if other is not leader:
            one = run(**changes)
            list(train_pack([one], SOURCE))
            same(one, other)


def test_a_checkpoint_from_before_there_were_schedules_is_read():
    one = run()
    list(train_pack([one], SOURCE))
    meta = one.meta()
    meta["config"] = {**meta["config"], "train": dict(meta["config"]["train"])}
    for name in ("warmup_tokens", "warmup_steps", "decay_share"):
        del meta["config"]["train"][name]
    del meta["shared_tokens"]
    assert run().restore(one.tensors(), meta).tokens == 1280
    assert replace(one.config) == RunConfig.from_dict(meta["config"])
