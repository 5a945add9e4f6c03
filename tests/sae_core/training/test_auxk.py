"""AuxK by gathers equals AuxK by dense products, in any number of pieces; test_gradients compares it with autograd."""

from contextlib import nullcontext

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from sae_core.config import DataKey, RunConfig, SAEConfig, TrainConfig
from sae_core.model import SAE
from sae_core.training import auxk, flops
from sae_core.training.auxk import AuxK, Gradients, add_auxk_
from sae_core.training.run import Run

N, D, B = 50, 8, 19


def gradients(sparse: bool, elements: int, monkeypatch, counter=None) -> tuple[torch.Tensor, Gradients]:
    g = torch.Generator().manual_seed(0)
    sae = SAE(SAEConfig(n_latents=N, k=3, encoder_bias=True), D).double().init_(torch.zeros(D), 0)
    centred, error = (torch.randn(B, D, generator=g, dtype=torch.float64) for _ in range(2))
    dead = torch.randperm(N, generator=g)[:30].sort().values
    monkeypatch.setitem(auxk.SPARSE_FROM, "cpu", 0 if sparse else 1000)
    grads = Gradients(*(torch.zeros(*shape, dtype=torch.float64) for shape in ((N, D), (N, D), (N,))))
    with torch.no_grad(), counter or nullcontext():
        loss = add_auxk_(sae, centred, error, AuxK(dead, 4, 0.3, elements), grads)
    return loss, grads


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("elements", [1, 30 * 7, 30 * B])
def test_gathers_dense_products_and_pieces_agree(sparse, elements, monkeypatch):
    loss, whole = gradients(False, 30 * B, monkeypatch)
    found, parts = gradients(sparse, elements, monkeypatch)
    assert found == pytest.approx(float(loss), rel=1e-12) and float(loss) > 0
    for name in ("dec", "enc", "latent"):
        expected = getattr(whole, name)
        assert expected.any() and torch.allclose(getattr(parts, name), expected, rtol=1e-9, atol=1e-14), name


def test_the_flops_counted_are_those_of_the_products_of_the_path_taken(monkeypatch):
    """Dense: torch counts every product. By gathers: torch counts the one product, and each row gathered is counted."""
    dense, encode = FlopCounterMode(display=False), FlopCounterMode(display=False)
    gradients(False, N * B, monkeypatch, dense)
    assert dense.get_total_flops() == B * flops.auxk_per_token(30, D, 4, by_gathers=False)

    gathered = []

    def counting(name, rows_of):
        inner = getattr(auxk, name)

        def counted(*args):
            gathered.extend(2 * B * 4 * width for width in rows_of(*args))
            return inner(*args)

        monkeypatch.setattr(auxk, name, counted)

    counting("gather_sum", lambda indices, z, w_dec: [w_dec.shape[1]])
    counting("segment_sum_dot", lambda entries, z, g, w_dec: [g.shape[1], w_dec.shape[1]])
    counting(
        "segment_sum", lambda entries, z, x: [x.shape[1]] if x.shape[1] > 1 else []
    )  # a sum has no product
    gradients(True, N * B, monkeypatch, encode)
    assert encode.get_total_flops() == 2 * B * 30 * D, "a product that is not by gathers"
    assert encode.get_total_flops() + sum(gathered) == B * flops.auxk_per_token(30, D, 4, by_gathers=True)


@pytest.mark.parametrize(("threshold", "gathers"), [(0, True), (1000, False)])
def test_a_run_counts_the_path_that_its_steps_take(threshold, gathers, monkeypatch):
    monkeypatch.setitem(auxk.SPARSE_FROM, "cpu", threshold)
    sae = SAEConfig(n_latents=N, k=3, k_aux=4, dead_tokens=1)
    train = TrainConfig(lr=1e-3, batch_tokens=B, max_tokens=10 * B)
    run = Run(RunConfig(DataKey("f", D), sae, train).resolved(), torch.zeros(D), 1.0)
    expected = 0.0
    for _ in range(3):
        dead = run.dead()
        run.step(torch.randn(B, D, generator=torch.Generator().manual_seed(run.steps)))
        if dead is not None:
            expected += B * (2 * len(dead) * D + 8 * (4 if gathers else len(dead)) * D)
    assert run.flops_auxk == expected > 0
