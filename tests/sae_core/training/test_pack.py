"""A run's result does not depend on who else is in its pack, and one that fails leaves the others alone."""

import pytest
import torch

from sae_core.config import DataKey, RunConfig, SAEConfig, TrainConfig
from sae_core.data.synthetic import Synthetic, SyntheticConfig
from sae_core.training import pack as pack_module
from sae_core.training import run as run_module
from sae_core.training.pack import start_point, train_pack
from sae_core.training.run import Run

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

    def explode(*_):
        raise torch.OutOfMemoryError("no memory for you")

    monkeypatch.setattr(bad, "step", explode)
    seen = events(bad, good)
    failed = [e for e in seen if e.kind == "failed"]
    assert [e.run for e in failed] == [bad] and "no memory" in str(failed[0].error)
    events(alone)
    assert losses(good) == losses(alone)


def out_of_memory_above(rows: int, monkeypatch):
    """`gradients_` as it would be on a device that holds the pre-activations of so many rows and no more."""
    real = run_module.gradients_

    def short_of_memory(sae, x, options, *rest):
        if options.rows > rows:
            raise torch.OutOfMemoryError("no memory for you")
        return real(sae, x, options, *rest)

    monkeypatch.setattr(run_module, "gradients_", short_of_memory)


def test_a_run_without_memory_goes_on_in_micro_batches_if_it_is_alone(monkeypatch):
    easy, tight = run(batch=512, tokens=4096), run(batch=512, tokens=4096)
    events(easy)
    out_of_memory_above(128, monkeypatch)
    assert events(tight)[-1].kind == "done"
    assert tight.micro_batch_tokens == 128 and tight.curve[-1]["micro_batch_tokens"] == 128
    assert losses(tight) == pytest.approx(losses(easy), rel=1e-4)


def test_in_company_it_fails_so_that_a_smaller_pack_is_tried(monkeypatch):
    out_of_memory_above(128, monkeypatch)
    big, small = run(batch=512, tokens=4096), run(batch=64)
    kinds = {id(e.run): e.kind for e in events(big, small)}
    assert kinds[id(big)] == "failed" and kinds[id(small)] == "done"


def test_a_run_that_does_not_fit_at_all_fails(monkeypatch):
    out_of_memory_above(8, monkeypatch)
    assert [e.kind for e in events(run(batch=512))] == ["failed"]


def test_the_wait_for_data_is_shared_by_those_who_waited(monkeypatch):
    clock = iter(range(1000))
    monkeypatch.setattr(pack_module.time, "perf_counter", lambda: float(next(clock)))
    runs = [run(), run(lr=1e-3), run(tokens=512, seed=4), run(tokens=512, seed=5)]
    events(*runs)  # a second a round: 8 rounds of four runs, 8 of two
    assert [one.wait_seconds for one in runs] == [8 / 4 + 8 / 2] * 2 + [8 / 4] * 2


def test_a_diverged_run_is_an_end_not_an_error():
    wild = run(lr=1e20)
    assert events(wild)[-1].kind == "diverged"


def test_an_abandoned_run_stops_where_it_is():
    a, b = run(), run(seed=1)
    for event in train_pack([a, b], SOURCE):
        if event.run is a and a.tokens == 256:
            a.abandoned = True
    assert a.tokens == 256 and b.tokens == 1024


@pytest.mark.parametrize("tokens", [512, 1024])  # 512: it follows the other; 1,024: the other follows it
def test_a_run_that_is_abandoned_at_its_last_evaluation_has_no_end(tokens):
    runs = [run(tokens=512), run(tokens=1024)]
    kinds = []
    for event in train_pack(runs, SOURCE):
        if event.run.config.train.budget == tokens:
            assert not event.run.abandoned
            event.run.abandoned = event.kind == "evaluated" and event.run.tokens == tokens
        kinds.append((event.run.config.train.budget, event.kind))
    assert [budget for budget, kind in kinds if kind == "done"] == [1536 - tokens]


def test_a_run_that_was_saved_at_its_end_ends_without_another_step():
    one = run()
    events(one)
    assert [e.kind for e in events(one)] == ["done"] and one.tokens == 1024
