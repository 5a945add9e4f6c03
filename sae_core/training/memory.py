"""The size of a micro-batch, whose pre-activations must take only a small part of the device's memory."""

from typing import TYPE_CHECKING

from sae_core.config import RANKED, SAEConfig

if TYPE_CHECKING:  # a plan knows memory without torch, which takes seconds to import
    import torch

FLOAT = 4  # bytes
NARROW = {"bf16": 2}  # bytes of an element of the copies that products read, by precision: precision.NARROW
_SHARE = 16  # a micro-batch's (rows, n) tensors may take 1/16 of a GPU's memory: 5 GB of 80
# (rows, n) tensors that live at once: pre-activations; with autograd pre, z, the mask, and their gradients.
_RANKED_COPIES, _AUTOGRAD_COPIES = 1, 6
# On a CPU they should stay in its cache. CPU seconds of a step's gradients in whole batches, and in 512
# and 128 tokens at once (d, n, B = 384, 8192, 4096, one core of an EPYC): topk 0.43, 0.38, 0.39; jumprelu 2.7, 2.0,
# 2.1; gated 4.1, 2.8, 2.8. Where n is large, more tokens are encoded for each read of the encoder's weights.
_CPU_ELEMENTS, _CPU_TOKENS = 2**22, 256


def device_bytes(device: "str | torch.device") -> int | None:
    """A GPU's total memory, since the free memory changes; None for a CPU."""
    import torch

    device = torch.device(device)
    return torch.cuda.get_device_properties(device).total_memory if device.type == "cuda" else None


def copies(sae: SAEConfig) -> int:
    """How many (rows, n) tensors a step holds at once."""
    return _RANKED_COPIES if sae.activation in RANKED else _AUTOGRAD_COPIES


def tokens_at_once(sae: SAEConfig, batch_tokens: int, memory: int | None) -> int:
    """Tokens of a micro-batch, at most the batch, at least 1; memory: see `device_bytes`."""
    if memory is None:
        tokens = max(_CPU_TOKENS, _CPU_ELEMENTS // sae.n_latents)
    else:
        tokens = memory // (_SHARE * FLOAT * copies(sae) * sae.n_latents)
    return max(1, min(batch_tokens, tokens))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocation failed, on a GPU or in the host's memory."""
    import torch

    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)
