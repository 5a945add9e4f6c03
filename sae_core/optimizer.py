"""Adam on the sphere: the decoder's rows keep unit norm, and their gradients no part along the row."""

import torch
import torch.nn.functional as F
from torch import Tensor

from sae_core.config import TrainConfig
from sae_core.model import SAE


class Optimizer:
    """Gradient projection → optional clipping → Adam → renormalisation (Gao et al. 2024, A.3; constant lr)."""

    def __init__(self, sae: SAE, config: TrainConfig) -> None:
        self.sae, self.clip = sae, config.clip_grad
        betas = (config.adam_beta1, config.adam_beta2)
        self.adam = torch.optim.Adam(
            sae.parameters(), lr=config.lr, betas=betas, eps=config.adam_eps, fused=True
        )

    @torch.no_grad()
    def step(self) -> Tensor:
        """One update from the `.grad` fields; returns the gradient's global norm after projection, before clipping."""
        w, grad = self.sae.W_dec, self.sae.W_dec.grad
        assert grad is not None
        grad.addcmul_(w, (w * grad).sum(1, keepdim=True), value=-1)
        gradients = [p.grad for p in self.sae.parameters() if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        if self.clip is not None:
            torch.nn.utils.clip_grads_with_norm_(self.sae.parameters(), self.clip, norm)
        self.adam.step()
        w.copy_(F.normalize(w, dim=1))
        return norm

    def tensors(self) -> dict[str, Tensor]:
        """Adam's moments and step counts under flat names, for a checkpoint."""
        state = self.adam.state
        return {
            f"adam.{name}.{key}": value
            for name, p in self.sae.named_parameters()
            for key, value in state[p].items()
        }

    def load(self, tensors: dict[str, Tensor]) -> None:
        for name, p in self.sae.named_parameters():
            prefix = f"adam.{name}."
            saved = {k.removeprefix(prefix): v.clone() for k, v in tensors.items() if k.startswith(prefix)}
            if saved:
                self.adam.state[p] = saved
