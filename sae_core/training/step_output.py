"""What a step tells beside its gradients."""

from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from kernels.plan import Plan


class EncoderGradient(NamedTuple):
    """∂W_enc = segment_sum(plan, coef, X) before it is summed (`train.fused_update`)."""

    plan: Plan
    coef: Tensor  # ∂pre, (B, k)
    X: Tensor  # x − b_pre, (B, d)


@dataclass(frozen=True)
class StepOutput:
    """Scalars stay tensors, so that a step needs no look at a GPU's memory for them."""

    nmse: Tensor  # mean‖x − x̂‖² / denominator on this batch
    auxk: Tensor | None  # normalized AuxK loss; None when no latent was dead
    used: Tensor  # (n,) bool: latents above 0 on some token of the batch
    penalty: Tensor | None = None  # S of L + λ·S, mean over the tokens; None without a penalty
    smallest: Tensor | None = None  # batchtopk: the smallest value that was on
    encoder: EncoderGradient | None = None  # where W_enc has no `.grad`
