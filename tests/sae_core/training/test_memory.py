"""Micro-batches: bounded in memory, never empty, never more than the batch."""

import pytest
import torch

from sae_core.config import SAEConfig
from sae_core.training.memory import FLOAT, copies, device_bytes, is_out_of_memory, tokens_at_once

RELU = SAEConfig(n_latents=2**17, activation="relu", sparsity_coef=0.1)
TOPK = SAEConfig(n_latents=2**17, k=32)


@pytest.mark.parametrize("sae", [TOPK, RELU])
def test_a_sixteenth_of_a_gpu_holds_what_a_micro_batch_makes(sae):
    memory = 80 * 2**30
    tokens = tokens_at_once(sae, 131_072, memory)
    assert memory / 17 < tokens * sae.n_latents * copies(sae) * FLOAT <= memory / 16


def test_at_least_one_token_and_at_most_the_batch():
    assert tokens_at_once(TOPK, 131_072, 1) == 1
    assert tokens_at_once(TOPK, 100, 2**50) == 100


def test_on_a_cpu_it_stays_in_the_cache_unless_n_is_large():
    assert device_bytes("cpu") is None
    assert tokens_at_once(SAEConfig(n_latents=8192, k=32), 4096, None) == 512
    assert tokens_at_once(TOPK, 4096, None) == 256


def test_what_counts_as_out_of_memory():
    with pytest.raises(RuntimeError) as refused:
        torch.empty(2**60)
    assert is_out_of_memory(refused.value)
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory")) and is_out_of_memory(MemoryError())
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
