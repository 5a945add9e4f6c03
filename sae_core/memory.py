"""How many tokens are encoded at once, so that their pre-activations take a small part of the device's memory."""

import torch

from sae_core.config import RANKED, SAEConfig

FLOAT = 4  # bytes
_SHARE = (
    16  # a part of so many of the device's memory holds the pre-activations of one micro-batch: 5 GB of 80
)
_CPU_BYTES = 2**32  # taken for the memory of a CPU, whatever it has: 256 MiB of pre-activations
# (rows, n) tensors that live at once: pre-activations; with autograd pre, z, H or the mask, and their gradients.
RANKED_COPIES, AUTOGRAD_COPIES = 1, 6


def device_bytes(device: str | torch.device) -> int:
    """Memory that the micro-batch is made for: all of the device's, not what is free, so that it is always the same."""
    device = torch.device(device)
    if device.type != "cuda":
        return _CPU_BYTES
    return torch.cuda.get_device_properties(device).total_memory


def copies(sae: SAEConfig) -> int:
    """How many (rows, n) tensors a step holds at once."""
    return RANKED_COPIES if sae.activation in RANKED else AUTOGRAD_COPIES


def tokens_at_once(sae: SAEConfig, batch_tokens: int, memory: int) -> int:
    """Tokens of a micro-batch, at most the batch, at least 1; memory: bytes, see `device_bytes`."""
    return max(1, min(batch_tokens, memory // (_SHARE * FLOAT * copies(sae) * sae.n_latents)))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocation failed, on a GPU or in the host's memory."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)
