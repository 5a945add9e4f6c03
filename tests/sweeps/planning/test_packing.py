"""Jobs: every run in one of them, none too long for its limit, packs within their memory."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sae_core.config import DataKey, RunConfig, SAEConfig, TrainConfig
from sweeps.config.launcher import Launcher
from sweeps.planning import cost, packs
from sweeps.planning.cost import Throughput
from sweeps.planning.packing import USABLE, jobs_of, packs_of, trained_shares
from sweeps.planning.runs import PlannedRun, run_id

LAUNCHER = Launcher(workers=4, runs_per_pack=3, timeout_min=60)
RATE = Throughput(1e9, "configured")


def run(n=1024, tokens=10**6, data="a", name="", micro=None):
    config = RunConfig(
        DataKey(data, 64),
        SAEConfig(n_latents=n, k=8),
        TrainConfig(lr=1e-3, batch_tokens=1024, micro_batch_tokens=micro, max_tokens=tokens),
        seed=int(name or 0),
    )
    return PlannedRun(name or f"{data}-{n}-{tokens}", config, {}, {})


def names(jobs):
    return Counter(one.run_id for job in jobs for one in job.runs)


@given(
    st.lists(
        st.tuples(st.integers(6, 16), st.integers(1, 4000), st.sampled_from("ab")), min_size=1, max_size=40
    ),
    st.integers(1, 20),
    st.integers(1, 600),
)
def test_every_run_is_in_one_job_that_fits_its_limit_or_is_alone(sizes, workers, minutes):
    runs = [run(2**n, tokens * 1024, data, str(i)) for i, (n, tokens, data) in enumerate(sizes)]
    jobs = jobs_of(runs, replace(LAUNCHER, workers=workers, timeout_min=minutes), RATE)
    assert names(jobs) == Counter(one.run_id for one in runs)
    for job in jobs:
        assert len({one.config.data.fingerprint for one in job.runs}) == 1
        assert job.seconds == pytest.approx(sum(one.flops_sparse for one in job.runs) / RATE.flops_per_s)
        assert len(job.runs) == 1 or job.seconds <= minutes * 60 * USABLE


def decaying(tokens, share=0.2, **changes):
    config = run(tokens=tokens, **changes).config
    train = replace(config.train, lr_schedule="linear", decay_share=share)
    return PlannedRun(f"linear-{tokens}-{changes}", replace(config, train=train), {}, {})


def test_runs_that_branch_off_one_another_are_one_job_that_costs_their_common_part_once():
    budgets = [1024 * 100, 1024 * 200, 1024 * 400]
    family = [decaying(tokens) for tokens in budgets]
    others = [run(tokens=1024 * 300, name=str(i)) for i in (1, 2)]
    jobs = jobs_of([*others, *family], LAUNCHER, RATE)
    assert sorted(len(job.runs) for job in jobs) == [1, 1, 3]
    (job,) = (job for job in jobs if len(job.runs) == 3)
    each = family[0].flops_sparse / RATE.flops_per_s  # seconds for 100 steps
    assert job.seconds == pytest.approx((4 + 0.2 * 2 + 0.2) * each)
    assert packs.trained_shares([one.config for one in family]) == pytest.approx([0.2, 0.2, 1.0])
    (pack,) = job.packs(LAUNCHER)  # of its own, as one that is cut in two would train its common part twice
    assert [len(each) for each in packs_of([*family, *others], LAUNCHER)] == [3, 2]
    assert [len(each) for each in packs_of([*family[:2], *others], LAUNCHER)] == [2, 2]
    two = replace(LAUNCHER, runs_per_pack=2)
    assert trained_shares(family, two) == pytest.approx([0.2, 1.0, 1.0])
    constant = run(tokens=1024 * 400)
    assert packs.trained_shares([constant.config, family[2].config]) == pytest.approx([1.0, 0.2])
    assert packs.trained_shares([one.config for one in others]) == [1.0, 1.0]


def test_the_last_run_of_a_family_that_is_too_large_does_not_tear_the_next_one_apart():
    """Budgets of four and of three, in packs of three: behind the fourth, the second would be in two packs."""
    steps = (100, 200, 300, 400)
    first, second = (
        [decaying(1024 * one, n=n, micro=1024) for one in budgets]
        for n, budgets in ((64, steps), (32, steps[:3]))
    )
    runs = [*first, *second]
    assert [len(each) for each in packs_of(runs, LAUNCHER)] == [3, 1, 3]
    assert [share == 1 for share in trained_shares(runs, LAUNCHER)] == [0, 0, 1, 1, 0, 0, 1]
    # Of a family that no pack can hold whole, none of its packs is lost where it begins behind another run.
    assert [len(each) for each in packs_of([run(), *first], LAUNCHER)] == [3, 2]
    alone = [run(name=str(i)) for i in (1, 2)]
    assert [len(each) for each in packs_of([*alone, *second], LAUNCHER)] == [2, 3]
    four = cost.pack_bytes([one.config for one in first])
    room = replace(LAUNCHER, runs_per_pack=9, memory_gb=four / cost.GiB)
    assert [len(each) for each in packs_of([second[0], *first], room)] == [1, 4]


def test_few_runs_use_all_workers_and_many_are_balanced():
    assert len(jobs_of([run(name=str(i)) for i in range(3)], LAUNCHER, RATE)) == 3
    jobs = jobs_of([run(2**e, name=str(e)) for e in range(8, 16)], LAUNCHER, None)
    assert len(jobs) == 4 and [len(job.runs) for job in jobs] == [1, 1, 1, 5]
    assert all(job.seconds is None for job in jobs)


def test_a_pack_holds_no_more_runs_and_no_more_memory_than_it_may():
    runs = [run(name=str(i), micro=1024) for i in range(7)]
    (job,) = jobs_of(runs, replace(LAUNCHER, workers=1), None)
    assert [len(pack) for pack in job.packs(LAUNCHER)] == [3, 3, 1]
    two = cost.pack_bytes([runs[0].config] * 2)
    tight = replace(LAUNCHER, memory_gb=two / cost.GiB)
    assert [len(pack) for pack in job.packs(tight)] == [2, 2, 2, 1] and job.memory(tight) == two
    too_small = replace(LAUNCHER, memory_gb=1e-6)
    assert [len(pack) for pack in job.packs(too_small)] == [1] * 7


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_memory_of_a_run_is_that_of_its_tensors(precision):
    """Counted on the real thing: weights, gradients, moments and average after a step, and the pre-activations."""
    import torch

    from sae_core.training.run import Run

    config = run(n=2048, tokens=8192).config
    config = replace(config, train=replace(config.train, precision=precision))
    one = Run(config.resolved(), torch.zeros(64), 1.0)
    one.step(torch.randn(1024, 64))
    held = sum(t.numel() * t.element_size() for t in one.tensors().values())
    held += sum(p.grad.numel() * p.grad.element_size() for p in one.sae.parameters())
    held += sum(low.numel() * low.element_size() for low in one.optimizer.narrow.values())
    held += sum(w.numel() * w.element_size() for w in one.ema.weights().values())
    assert cost.state_bytes(config) == pytest.approx(held, rel=0.01)
    assert cost.step_bytes(config) >= 1024 * 2048 * 4
    assert cost.step_bytes(
        replace(config, train=replace(config.train, batch_tokens=2048))
    ) == 2 * cost.step_bytes(config)


def test_micro_batches_bound_the_memory_of_a_step():
    large = run(n=2**20, tokens=2**20).config
    free = replace(large, train=replace(large.train, batch_tokens=2**17))
    assert cost.step_bytes(free, memory_gb=64) < 64 / 16 * cost.GiB + 2**17 * 4 * (4 * 64 + 6 * 8) + 1
    assert cost.step_bytes(free, memory_gb=64) > 63 / 16 * cost.GiB
    own = replace(free, train=replace(free.train, micro_batch_tokens=64))
    assert cost.step_bytes(own, memory_gb=64) == 4 * (64 * 2**20 + 2**17 * (4 * 64 + 6 * 8))


def test_throughput_is_configured_or_measured_on_the_same_kind_of_device(tmp_path):
    from sweeps.ledger.run_folder import RunFolder

    folders = []
    for i, (device, seconds) in enumerate((("x86_64 CPU", 2.0), ("x86_64 CPU", 4.0), ("NVIDIA H200", 0.1))):
        folder = RunFolder(tmp_path / str(i))
        folder.path.mkdir()
        folder.set_environment({"device": device})
        folder.set_result({"flops_sparse": 8e9, "train_seconds": seconds})
        folders.append(folder)
    assert cost.throughput(Launcher(flops_per_s=5e9), folders) == Throughput(5e9, "configured")
    assert cost.throughput(Launcher(), folders) == Throughput(3e9, "measured on 2 runs")
    assert cost.throughput(Launcher(device="cuda"), folders) == Throughput(8e10, "measured on 1 runs")
    assert cost.throughput(Launcher(), []) is None


def test_settings_that_came_later_leave_the_ids_of_runs_as_they_were():
    config = run().config.resolved()
    assert run_id(config) == "d1b6d0a6d1e3"  # of the version without schedules
    warm = replace(config, train=replace(config.train, warmup_tokens=4096))
    assert len({run_id(config), run_id(warm), run_id(decaying(10**6).config.resolved())}) == 3
