"""No step holds the pre-activations of a whole batch: the largest tensor of any of its operations is bounded."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from sae_core.activations import build
from sae_core.config import RANKED, SAEConfig
from sae_core.training import auxk
from sae_core.training.gradients import StepOptions, gradients_
from tests.sae_core.test_activations import LOSSES

B, N, D, K, ROWS = 512, 16384, 16, 8, 16


class Largest(TorchDispatchMode):
    """Bytes of the largest storage that an operation gave, its name and shape."""

    bytes, what = 0, ""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if isinstance(leaf, torch.Tensor) and leaf.layout == torch.strided:
                size = leaf.untyped_storage().nbytes()
                if size > self.bytes:
                    self.bytes, self.what = size, f"{function} {tuple(leaf.shape)}"
        return out


def largest(name: str, dead=None, **options) -> Largest:
    ranked = LOSSES[name].get("activation", "topk") in RANKED
    own = {"k": K} if ranked else {"sparsity_coef": 0.1}
    sae = build(SAEConfig(n_latents=N, encoder_bias=True, **own, **LOSSES[name]), D)
    sae.init_(torch.zeros(D), seed=0)
    x = torch.randn(B, D, generator=torch.Generator().manual_seed(0))
    with Largest() as seen:
        gradients_(sae, x, StepOptions(1.0, rows=ROWS, **options), dead)
    return seen


def check(seen: Largest) -> None:
    bound = 4 * max(
        (N + 1) * D, ROWS * N, 32 * B * K
    )  # a weight table, scores of a micro-batch, 16k int64 a token
    assert bound < B * N / 4, "the test needs a bound far below the whole"
    assert seen.bytes <= bound, seen.what


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", LOSSES)
def test_the_whole_step(name, precision):
    check(largest(name, precision=precision))


@pytest.mark.parametrize("sparse_from", [0, 1000])
@pytest.mark.parametrize("name", ["topk", "batchtopk", "matryoshka"])
def test_auxk_over_most_latents(name, sparse_from, monkeypatch):
    monkeypatch.setitem(auxk.SPARSE_FROM, "cpu", sparse_from)
    check(largest(name, dead=torch.arange(N * 3 // 4), k_aux=8, auxk_coef=0.1))
