"""The other autoencoders of the field, beside TopK: BatchTopK, ReLU, JumpReLU, Gated. One encode, decode and step."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sae_core.config import SAEConfig
from sae_core.model import SAE


def build(config: SAEConfig, d_model: int) -> SAE:
    """The autoencoder that `config.activation` names, weights not yet initialised (`init_`)."""
    return {"topk": SAE, "batchtopk": BatchTopK, "relu": ReLU, "jumprelu": JumpReLU, "gated": Gated}[
        config.activation
    ](config, d_model)


class BatchTopK(SAE):
    """Trained with the B·k largest positive pre-activations of a batch; at inference z = pre where pre > θ.

    θ is the mean over batches of the smallest value that was on (Bussmann, Leask and Nanda 2024, eq. 4), here of all of
    the first 100 batches and exponential with 0.99 after them, so that it follows the weights.
    """

    threshold: Tensor

    def __init__(self, config: SAEConfig, d_model: int) -> None:
        super().__init__(config, d_model)
        self.register_buffer("threshold", torch.zeros(()))

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """All latents, (B, n): as many are on as are above θ."""
        pre = self.pre_activations(x)
        return pre * (pre > self.threshold.clamp(min=0)), None

    def _reconstruct_at_start(self, x: Tensor) -> Tensor:
        return self.decode(*super().encode(x))  # there is no θ yet: k a row

    @torch.no_grad()
    def observe(self, smallest: Tensor, step: int) -> None:
        """Take the smallest active value of training batch number `step` (from 1) into θ; infinite: none was on."""
        seen = torch.where(smallest.isfinite(), smallest.to(self.threshold.dtype), self.threshold)
        self.threshold.lerp_(seen, max(1 / step, 0.01))


class ReLU(SAE):
    """z = ReLU(pre), trained with L + λ·mean‖z‖₁ (Gao et al. 2024, §2.2; the decoder's rows have unit norm)."""

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        return self.pre_activations(x).relu(), None

    def penalised(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """z (B, n), the sum over the rows of the penalty S, and of any squared error of its own, 0-dim each."""
        z, _ = self.encode(x)
        return z, z.sum(), z.new_zeros(())


class JumpReLU(ReLU):
    """z = pre·H(pre − θ) with θ a latent's own, trained with L + λ·mean‖z‖₀ (Rajamanoharan et al. 2024b, eq. 9).

    θ = exp(log_threshold), (n,). H has no gradient; the paper's straight-through one is of a window of width ε about θ.
    """

    def __init__(self, config: SAEConfig, d_model: int) -> None:
        super().__init__(config, d_model)
        start = math.log(config.init_threshold)
        self.log_threshold = nn.Parameter(torch.full((config.n_latents,), start))

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        pre = self.pre_activations(x)
        return pre * (pre > self.log_threshold.exp()), None

    def penalised(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        pre, threshold = self.pre_activations(x), self.log_threshold.exp()
        on = _Step.apply(pre, threshold, self.config.bandwidth)
        # The value is pre·H; the gradient is H to pre, and θ·∂H/∂θ to θ (eq. 11), not pre·∂H/∂θ.
        z = pre * on.detach() + threshold.detach() * (on - on.detach())
        return z, on.sum(), pre.new_zeros(())


class Gated(ReLU):
    """z = 1[π + b_enc > 0]·ReLU(exp(r_mag)·π + b_mag) with π = W_enc (x − b_pre) (Rajamanoharan et al. 2024a, eq. 6–8).

    Trained with L + λ·mean‖ReLU(π + b_enc)‖₁ + mean‖x − x̂_gate‖²/denominator, x̂_gate = ReLU(π + b_enc) W_dec + b_pre
    with the decoder held fixed: the gates learn from the last two, the magnitudes from the first.
    """

    def __init__(self, config: SAEConfig, d_model: int) -> None:
        super().__init__(config, d_model)
        self.r_mag = nn.Parameter(torch.zeros(config.n_latents))
        self.b_mag = nn.Parameter(torch.zeros(config.n_latents))

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        return self._latents(F.linear(x - self.b_pre, self.W_enc)), None

    def penalised(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        pi = F.linear(x - self.b_pre, self.W_enc)
        gate = self._gates(pi).relu()
        by_gate = gate @ self.W_dec.detach() + self.b_pre.detach()
        return self._latents(pi), gate.sum(), (by_gate - x).pow(2).sum()

    def _latents(self, pi: Tensor) -> Tensor:
        return (self._gates(pi) > 0) * (self.r_mag.exp() * pi + self.b_mag).relu()

    def _gates(self, pi: Tensor) -> Tensor:
        assert self.b_enc is not None, "`validate` asks a gated SAE for its encoder_bias"
        return pi + self.b_enc


class _Step(torch.autograd.Function):
    """H(pre − θ), and to θ alone the gradient −K((pre − θ)/ε)/ε, K = 1 on (−½, ½) (Rajamanoharan 2024b, eq. 12)."""

    @staticmethod
    def forward(ctx, pre: Tensor, threshold: Tensor, bandwidth: float) -> Tensor:
        ctx.save_for_backward(pre, threshold)
        ctx.bandwidth = bandwidth
        return (pre > threshold).to(pre.dtype)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[None, Tensor, None]:
        pre, threshold = ctx.saved_tensors
        window = (pre - threshold).abs() < ctx.bandwidth / 2
        return None, -(grad * window).sum(0, dtype=threshold.dtype) / ctx.bandwidth, None
