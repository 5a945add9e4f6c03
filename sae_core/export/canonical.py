"""The common form between an SAE and the export layouts: named tensors made from an SAE, and an SAE made from them."""

from pathlib import Path

import torch
from torch import Tensor

from sae_core.activations import BatchTopK, JumpReLU, build
from sae_core.config import RunConfig, SAEConfig
from sae_core.errors import CheckpointError
from sae_core.export.about import ExportError
from sae_core.model import SAE
from sae_core.training import checkpoint


def of_run(path: Path, which: str = "live") -> tuple[SAE, RunConfig]:
    """The SAE and the config stored in a finished run's `weights.safetensors`.

    which="live" takes the live weights, which="ema" the averaged ones, each with the θ of BatchTopK that nmse_live or
    nmse_ema was measured with. In files from before the averaged weights had a θ of their own that was the live one.
    Raise ExportError if a weight is NaN or infinite, and CheckpointError if the file does not hold a run's weights.
    """
    tensors, meta = checkpoint.read(path)
    try:
        config = RunConfig.from_dict(meta["config"])
        sae = build(config.sae, config.data.d_model)
        names = list(sae.state_dict())
        if which == "ema":
            tensors = tensors | {name: tensors[f"ema.{name}"] for name, _ in sae.named_parameters()}
            tensors |= {name: tensors.get(f"ema.{name}", tensors[name]) for name, _ in sae.named_buffers()}
        sae.load_state_dict({name: tensors[name] for name in names})
    except (KeyError, TypeError, RuntimeError) as error:
        raise CheckpointError(
            f"{path} does not hold a run's {which} weights ({_first_line(error)}); train the run again."
        ) from error
    bad = [name for name, tensor in sae.state_dict().items() if not tensor.isfinite().all()]
    if bad:
        raise ExportError(f"The {which} {bad[0]} in {path} has NaN or infinite values: nothing was exported.")
    return sae, config


def tensors_of(sae: SAE) -> dict[str, Tensor]:
    """The weights in float32 on the CPU: W_enc, W_dec (n, d); b_dec (d,); b_enc (n,), zeros if the SAE has none.

    In addition, `threshold` has shape (n,) for jumprelu and is 0-dim for batchtopk; gated has `r_mag`, `b_mag` (n,).
    """
    found = {name: tensor.detach().float().cpu() for name, tensor in sae.state_dict().items()}
    found["b_dec"] = found.pop("b_pre")
    found.setdefault("b_enc", torch.zeros(len(found["W_enc"])))
    if isinstance(sae, JumpReLU):
        found["threshold"] = found.pop("log_threshold").exp()
    if isinstance(sae, BatchTopK):
        found["threshold"] = found["threshold"].clamp(min=0)
    return {name: tensor.contiguous() for name, tensor in found.items()}


def sae_of(activation: str, k: int | None, tensors: dict[str, Tensor]) -> SAE:
    """Build an SAE from tensors named as in `tensors_of`. It has no sparsity_coef, so it cannot be trained further."""
    given = {name: tensor.detach().float().contiguous() for name, tensor in tensors.items()}
    given["b_pre"] = given.pop("b_dec")
    if activation == "jumprelu":
        given["log_threshold"] = given.pop("threshold").clamp(min=0).log()
    n, d = given["W_enc"].shape
    sae = build(SAEConfig(n_latents=n, k=k, activation=activation, encoder_bias=True), d)
    sae.load_state_dict(given)
    return sae


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
