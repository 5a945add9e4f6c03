"""What a step tells beside its gradients."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class StepOutput:
    """Scalars stay tensors, so that a CUDA step never waits for the host."""

    nmse: Tensor  # mean‖x − x̂‖² / denominator on this batch
    auxk: Tensor | None  # normalized AuxK loss; None when no latent was dead
    used: Tensor  # (n,) bool: latents above 0 on some token of the batch
    penalty: Tensor | None = None  # S of L + λ·S, mean over the tokens; None without a penalty
    smallest: Tensor | None = None  # batchtopk: the smallest value that was on
