"""The other sparse autoencoders: BatchTopK, ReLU, JumpReLU and Gated, with the same encode and decode as TopK."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sae_core.config import SAEConfig
from sae_core.model import SAE


def build(config: SAEConfig, d_model: int) -> SAE:
    """The autoencoder named by `config.activation`; call `init_` to initialise its weights."""
    return {"topk": SAE, "batchtopk": BatchTopK, "relu": ReLU, "jumprelu": JumpReLU, "gated": Gated}[
        config.activation
    ](config, d_model)


class BatchTopK(SAE):
    """Training keeps the B·k largest positive pre-activations of a batch; at inference z = pre where pre > θ.

    θ is the smallest active value of a batch (Bussmann, Leask and Nanda 2024, eq. 4). A running mean over batches
    would lag behind the weights, which change fast at first. So θ is set whenever the weights are evaluated, from a
    large batch of training rows: see `sae_core.training.evaluation.set_threshold_`.
    """

    threshold: Tensor

    def __init__(self, config: SAEConfig, d_model: int) -> None:
        super().__init__(config, d_model)
        self.register_buffer("threshold", torch.zeros(()))

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """The values of all latents, (B, n), which are pre where pre > θ and 0 elsewhere; and None."""
        pre = self.pre_activations(x)
        return pre * (pre > self.threshold.clamp(min=0)), None

    def _reconstruct_at_start(self, x: Tensor) -> Tensor:
        return self.decode(*super().encode(x))  # θ is not yet known, so take the k largest of each row


class ReLU(SAE):
    """z = ReLU(pre), trained on L + λ·mean‖z‖₁ with unit-norm decoder rows (Gao et al. 2024, §2.2)."""

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        return self.pre_activations(x).relu(), None

    def penalised(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return z (B, n) and two 0-dim sums over the rows: the penalty S, and a squared error that only Gated has."""
        z, _ = self.encode(x)
        return z, z.sum(), z.new_zeros(())


class JumpReLU(ReLU):
    """z = pre·H(pre − θ) with one θ per latent, trained on L + λ·mean‖z‖₀ (Rajamanoharan et al. 2024b, eq. 9).

    θ = exp(log_threshold), (n,). H has no gradient, so the paper uses a straight-through estimator with a window of
    width ε around θ.
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
        # The value is pre·H. Its derivative by pre is H, and its derivative by θ is θ·∂H/∂θ (eq. 11), not pre·∂H/∂θ.
        z = pre * on.detach() + threshold.detach() * (on - on.detach())
        return z, on.sum(), pre.new_zeros(())


class Gated(ReLU):
    """z = 1[π + b_enc > 0]·ReLU(exp(r_mag)·π + b_mag) with π = W_enc (x − b_pre) (Rajamanoharan et al. 2024a, eq. 6–8).

    The loss is L + λ·mean‖ReLU(π + b_enc)‖₁ + mean‖x − x̂_gate‖²/denominator. Here
    x̂_gate = ReLU(π + b_enc) W_dec + b_pre with the decoder held fixed. The gates learn from the last two terms, the
    magnitudes from the first.
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
    """H(pre − θ) with ∂H/∂θ = −K((pre − θ)/ε)/ε, K = 1 on (−½, ½), and ∂H/∂pre = 0 (Rajamanoharan 2024b, eq. 12)."""

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
