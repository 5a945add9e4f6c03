"""A whole training step on a CUDA device: the CPU's gradients, the same bits twice, no wait, no (B, n) in memory."""

import pytest
import torch

from sae_core.config import DataKey, RunConfig, SAEConfig, TrainConfig
from sae_core.training.auxk import SPARSE_FROM
from sae_core.training.run import Run
from tests.kernels.cuda.test_cuda import no_waiting
from tests.sae_core.test_activations import LOSSES, assert_equal, ours, sae_and_batch

DEVICE = "cuda"
pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("with_dead", [False, True])
@pytest.mark.parametrize("name", LOSSES)
def test_gradients_are_those_of_the_cpu(name, with_dead, sparse, monkeypatch):
    """In float64: what differs is only the order of sums."""
    monkeypatch.setitem(SPARSE_FROM, DEVICE, 0 if sparse else 1000)
    sae, x = sae_and_batch(name)
    dead = torch.tensor([3, 7, 21, 39]) if with_dead else None
    expected = ours(sae, x, dead=dead, k_aux=2, auxk_coef=0.25)
    dead = None if dead is None else dead.to(DEVICE)
    found = ours(sae.to(DEVICE), x.to(DEVICE), dead=dead, k_aux=2, auxk_coef=0.25)
    assert_equal({name: g.cpu() for name, g in found.items()}, expected)


def run(n=512, batch=1024, rows=None, sae=None, **train) -> Run:
    sae = SAEConfig(n_latents=n, **({"k": 8, "dead_tokens": 6 * batch} | (sae or {})))
    config = TrainConfig(lr=1e-3, batch_tokens=batch, micro_batch_tokens=rows, max_tokens=2**40, **train)
    return Run(RunConfig(DataKey("rows", 96), sae, config).resolved(), torch.zeros(96), 96.0, DEVICE)


def batch(step: int, rows=1024) -> torch.Tensor:
    g = torch.Generator().manual_seed(step)
    x = torch.randn(rows, 96, generator=g) * torch.logspace(
        0, -2, 96
    )  # some directions many times as long as others
    return x.to(DEVICE)


@pytest.mark.parametrize(
    "train", [{}, {"precision": "bf16"}, {"precision": "bf16", "fused_update": True}], ids=str
)
def test_two_runs_are_bitwise_equal(train):
    """Through steps with and without dead latents."""
    one, two = run(**train), run(**train)
    for step in range(12):
        one.step(batch(step)), two.step(batch(step))
    assert one.dead() is not None, "the test needs dead latents"
    for name, tensor in one.tensors().items():
        assert torch.equal(tensor, two.tensors()[name]), name


def test_a_fused_update_is_the_same_training():
    stored, fused = run(), run(fused_update=True)
    for step in range(6):
        stored.step(batch(step)), fused.step(batch(step))
    for name, tensor in stored.tensors().items():
        assert torch.allclose(tensor, fused.tensors()[name], rtol=1e-4, atol=1e-6), name


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"precision": "bf16", "fused_update": True},
        {"clip_grad": 0.1},
        {"sae": {"multi_topk": True}},
        {"sae": {"matryoshka": 3}},
        {"sae": {"activation": "relu", "k": None, "sparsity_coef": 0.1}},
    ],
    ids=str,
)
def test_a_step_does_not_wait_for_the_gpu(options):
    """As long as no latent can be dead: how many are dead is a shape, which the host must know. batchtopk waits."""
    warm = run(**options)
    x = batch(0)
    warm.step(x)
    with no_waiting():
        warm.step(x)
        warm.step(x)


def test_pre_activations_are_never_whole_in_memory():
    n, rows, batch_tokens = 65_536, 256, 8_192
    one, x = run(n, batch_tokens, rows, precision="bf16"), batch(0, 8_192)
    one.step(x)
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    one.step(x)
    tables = 4 * 4 * n * 96  # the two gradients, and room for those of before
    assert torch.cuda.max_memory_allocated() - before < tables + 2 * batch_tokens * n / 4
