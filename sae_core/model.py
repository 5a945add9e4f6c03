"""The TopK sparse autoencoder in the notation of the paper. The other activations are in `sae_core.activations`."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kernels.gather_sum import gather_sum
from kernels.topk import topk
from sae_core.config import SAEConfig


class SAE(nn.Module):
    """z = ReLU(TopK(W_enc (x − b_pre) + b_enc)),   x̂ = Σ_j z_j W_dec[j] + b_pre.   (Gao et al. 2024, §2.3)

    Shapes: W_enc, W_dec (n, d), one row per latent;  b_pre (d,);  b_enc (n,) or None.

    Autograd works through `forward`. The trainer uses the explicit gradients of `sae_core.training.gradients` instead;
    a test compares the two.
    """

    def __init__(self, config: SAEConfig, d_model: int) -> None:
        super().__init__()
        n = config.n_latents
        self.config = config
        self.W_enc = nn.Parameter(torch.empty(n, d_model))
        self.W_dec = nn.Parameter(torch.empty(n, d_model))
        self.b_pre = nn.Parameter(torch.zeros(d_model))
        self.b_enc = nn.Parameter(torch.zeros(n)) if config.encoder_bias else None

    @property
    def k(self) -> int:
        assert self.config.k is not None, "only topk and batchtopk have a k, and `validate` asks them for it"
        return self.config.k

    @torch.no_grad()
    def init_(self, b_pre: Tensor, seed: int, scale: str = "norm") -> "SAE":
        """Tied initialisation (A.1): W_dec gets random unit rows, W_enc = W_dec; b_pre is the given geometric median.

        scale="norm" multiplies W_enc so that random unit vectors are reconstructed at unit norm, as released code does.
        """
        generator = torch.Generator().manual_seed(seed)
        n, d = self.W_dec.shape
        self.W_dec.copy_(F.normalize(torch.randn(n, d, generator=generator), dim=1))
        self.W_enc.copy_(self.W_dec)
        self.b_pre.copy_(b_pre)
        if scale == "norm":
            x = (
                F.normalize(torch.randn(256, d, generator=generator), dim=1).to(self.W_enc.device)
                + self.b_pre
            )
            self.W_enc.div_((self._reconstruct_at_start(x) - self.b_pre).norm(dim=1).mean())
        return self

    def _reconstruct_at_start(self, x: Tensor) -> Tensor:
        return self(x)

    def pre_activations(self, x: Tensor) -> Tensor:
        """W_enc (x − b_pre) + b_enc.  x: (B, d);  returns (B, n)."""
        return F.linear(x - self.b_pre, self.W_enc, self.b_enc)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Encode x (B, d) to values and indices, (B, k) each, or to the values of all latents, (B, n), and None.

        Here the values are the k largest pre-activations after a ReLU.
        """
        pre = self.pre_activations(x)
        indices = topk(pre.detach(), self.k)[1]
        return pre.gather(1, indices.long()).relu(), indices

    def decode(self, values: Tensor, indices: Tensor | None) -> Tensor:
        """Σ_j values[:, j] W_dec[indices[:, j]] + b_pre, (B, d). If indices is None: values (B, n) W_dec + b_pre."""
        if indices is None:
            return values @ self.W_dec + self.b_pre
        return gather_sum(indices, values, self.W_dec) + self.b_pre

    def forward(self, x: Tensor) -> Tensor:
        return self.decode(*self.encode(x))
