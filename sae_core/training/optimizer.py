"""Adam with unit-norm decoder rows: the component of each row's gradient along the row is removed."""

from collections.abc import Mapping

import torch
from torch import Tensor

from kernels.adam_step import AdamStep
from kernels.rowwise_adam import rowwise_adam_
from kernels.segment_sum_adam import segment_sum_adam_
from sae_core.config import RANKED, TrainConfig
from sae_core.model import SAE
from sae_core.training.ema import EMA
from sae_core.training.gradients import EncoderGradient
from sae_core.training.precision import NARROW

# Parameters of shape (n, d), each updated in one pass over its rows. The other parameters are vectors.
TABLES = ("W_enc", "W_dec")


class Optimizer:
    """Gradient projection → optional clipping → Adam → renormalisation (Gao et al. 2024, A.3).

    narrow holds copies of the tables in the dtype of a ranked step's products, if that dtype is not float32. The pass
    that updates the tables also writes the copies, and `gradients_` reads them. lr_scales: what lr is multiplied by for
    each parameter; None: 1 for all.
    """

    def __init__(self, sae: SAE, config: TrainConfig, lr_scales: Mapping[str, float] | None = None) -> None:
        self.sae, self.clip = sae, config.clip_grad
        self.rates = config.adam_beta1, config.adam_beta2, config.adam_eps
        self.lr = {name: config.lr * (lr_scales or {}).get(name, 1.0) for name, _ in sae.named_parameters()}
        self.moments = {name: _moments(sae.get_parameter(name)) for name in TABLES}
        groups = [
            {"params": [p], "lr": self.lr[name], "name": name}
            for name, p in sae.named_parameters()
            if name not in TABLES
        ]
        beta1, beta2, eps = self.rates
        self.vectors = torch.optim.Adam(groups, config.lr, (beta1, beta2), eps, fused=True)
        dtype = NARROW.get(config.precision) if sae.config.activation in RANKED else None
        self.narrow = {name: sae.get_parameter(name).detach().to(dtype) for name in TABLES} if dtype else {}

    @torch.no_grad()
    def step(
        self, encoder: EncoderGradient | None = None, ema: EMA | None = None, rate: float = 1.0
    ) -> Tensor:
        """Update the weights from `.grad`; return the global norm of the gradient after projection, before clipping.

        encoder: W_enc's gradient if it is not stored in `.grad`.  ema: the weight average to update as well; the tables
        and their averages are updated in the same pass.  rate: multiplies lr. Afterwards the contents of `.grad` are
        undefined.
        """
        norm, scale = (None, None) if self.clip is None else self._clipped(self.clip)
        squared = [self._step_table(name, scale, encoder, ema, rate) for name in TABLES]
        squared += [g.pow(2) for g in self._gradients() if g.dim() == 1]
        for group in self.vectors.param_groups:
            group["lr"] = rate * self.lr[group["name"]]
        self.vectors.step()
        if ema is not None:
            ema.update(done=TABLES)
        return torch.cat(squared).sum().sqrt() if norm is None else norm

    def _step_table(
        self,
        name: str,
        scale: Tensor | None,
        encoder: EncoderGradient | None,
        ema: EMA | None,
        rate: float,
    ) -> Tensor:
        """Update W_enc or W_dec by Adam; return the squared norms of the rows of its gradient, (n,)."""
        p, (m, v, t) = self.sae.get_parameter(name), self.moments[name].values()
        t += 1
        adam = AdamStep(p, m, v, t, rate * self.lr[name], *self.rates, scale=scale, low=self.narrow.get(name))
        if ema is not None:
            adam = adam._replace(average=ema.m[name], decay=ema.beta)
        if name == "W_enc" and encoder is not None:
            return segment_sum_adam_(*encoder, adam)
        assert p.grad is not None
        sphere = name == "W_dec"
        # A clipped gradient was projected before its norm was taken.
        return rowwise_adam_(p.grad, adam._replace(project=sphere and scale is None, renormalise=sphere))

    def _clipped(self, most: float) -> tuple[Tensor, Tensor]:
        """Project the decoder's gradient and scale the gradients of the vectors.

        Returns the global norm, and the factor by which the gradients of the tables must still be scaled.
        """
        w, grad = self.sae.W_dec, self.sae.W_dec.grad
        assert grad is not None
        grad.addcmul_(w, (w * grad).sum(1, keepdim=True), value=-1)
        norm = torch.nn.utils.get_total_norm(self._gradients())
        scale = (most / (norm + 1e-6)).clamp(max=1.0)  # as torch.nn.utils.clip_grad_norm_
        for g in self._gradients():
            if g.dim() == 1:
                g.mul_(scale)
        return norm, scale

    def _gradients(self) -> list[Tensor]:
        return [p.grad for p in self.sae.parameters() if p.grad is not None]

    def tensors(self) -> dict[str, Tensor]:
        """Adam's moments and step counts under flat names, for a checkpoint."""
        state = {name: self.vectors.state[p] for name, p in self.sae.named_parameters() if name not in TABLES}
        return {
            f"adam.{name}.{key}": value
            for name, values in (self.moments | state).items()
            for key, value in values.items()
        }

    @torch.no_grad()
    def load(self, tensors: dict[str, Tensor]) -> None:
        """Restore the state that `tensors` returned; the SAE must have its weights already."""
        for name, p in self.sae.named_parameters():
            prefix = f"adam.{name}."
            saved = {k.removeprefix(prefix): v.clone() for k, v in tensors.items() if k.startswith(prefix)}
            if name in TABLES:
                self.moments[name] = {key: saved[key] for key in self.moments[name]}
            elif saved:
                self.vectors.state[p] = saved
        for name, copy in self.narrow.items():
            copy.copy_(self.sae.get_parameter(name))


def _moments(p: Tensor) -> dict[str, Tensor]:
    """m, v and t of a table before its first step, under the names of torch.optim.Adam."""
    step = torch.zeros((), dtype=torch.float32, device=p.device)
    return {"exp_avg": torch.zeros_like(p.detach()), "exp_avg_sq": torch.zeros_like(p.detach()), "step": step}
