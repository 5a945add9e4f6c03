"""A run's result does not depend on who else is in its pack, and one that fails leaves the others alone."""

import torch

from sae_core.config import DataKey, RunConfig, SAEConfig, TrainConfig
from sae_core.pack import start_point, train_pack
from sae_core.run import Run
from sae_core.synthetic import Synthetic, SyntheticConfig

SOURCE = Synthetic(SyntheticConfig(d_model=16, n_features=300, l0=3.0, held_out=256))
START = start_point(SOURCE)


def run(n=32, k=2, lr=3e-3, batch=64, tokens=1024, order=0, seed=0) -> Run:
    train = TrainConfig(lr=lr, batch_tokens=batch, max_tokens=tokens, first_eval_tokens=128)
    config = RunConfig(
        DataKey(SOURCE.fingerprint, 16, order), SAEConfig(n_latents=n, k=k), train, seed
    ).resolved()
    return Run(config, START, SOURCE.denominator)


def events(*runs: Run) -> list:
    return list(train_pack(runs, SOURCE))


def losses(one: Run) -> list[float]:
    return [row["nmse_live"] for row in one.curve]


def test_alone_or_packed_to_the_last_bit():
    alone, packed = run(), run()
    events(alone)
    others = [
        run(n=64, k=4, tokens=4096),
        run(lr=1e-3),
        run(batch=128),
        run(tokens=256),
        run(order=1),
        run(seed=5),
    ]
    events(others[0], packed, *others[1:])
    assert losses(packed) == losses(alone)
    for name, tensor in alone.tensors().items():
        assert torch.equal(tensor, packed.tensors()[name]), name


def test_each_step_sees_the_next_tokens_of_the_stream():
    packed, by_hand = run(batch=128, tokens=1280), run(batch=128, tokens=1280)
    events(packed, run())
    for start in range(0, 1280, 128):
        by_hand.step(SOURCE.rows(start, 128, seed=0))
    for name, tensor in by_hand.tensors().items():
        assert torch.equal(tensor, packed.tensors()[name]), name


def test_every_run_ends_once_and_sees_its_budget():
    runs = [run(), run(batch=128, tokens=2048), run(tokens=512)]
    ends = [event for event in events(*runs) if event.kind == "done"]
    assert sorted(id(e.run) for e in ends) == sorted(map(id, runs))
    assert [r.tokens for r in runs] == [1024, 2048, 512]


def test_the_order_of_the_tokens_is_the_runs_own():
    a, b = run(order=0), run(order=1)
    events(a, b)
    assert losses(a) != losses(b)


def test_a_failing_run_leaves_and_the_others_go_on(monkeypatch):
    bad, good, alone = run(seed=1), run(), run()

    def explode(x):
        raise torch.OutOfMemoryError("no memory for you")

    monkeypatch.setattr(bad, "step", explode)
    seen = events(bad, good)
    failed = [e for e in seen if e.kind == "failed"]
    assert [e.run for e in failed] == [bad] and "no memory" in str(failed[0].error)
    events(alone)
    assert losses(good) == losses(alone)


def test_a_diverged_run_is_an_end_not_an_error():
    wild = run(lr=1e20)
    assert events(wild)[-1].kind == "diverged"


def test_an_abandoned_run_stops_where_it_is():
    a, b = run(), run(seed=1)
    for event in train_pack([a, b], SOURCE):
        if event.run is a and a.tokens == 256:
            a.abandoned = True
    assert a.tokens == 256 and b.tokens == 1024


def test_a_run_that_was_saved_at_its_end_ends_without_another_step():
    one = run()
    events(one)
    assert [e.kind for e in events(one)] == ["done"] and one.tokens == 1024
