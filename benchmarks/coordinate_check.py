"""Does the size of an update depend on the width n? The coordinate check of μP, against the standard parametrisation.

    python -m benchmarks.coordinate_check

An SAE of each width takes three steps of 256 tokens at a small lr. The table shows how much its pre-activations and
its reconstructions of held-out rows have changed, in units of their size at the start, and the slope of ln change over
ln n.
The coordinate check is that of Yang et al. 2022 (arXiv 2203.03466, appendix D.1).
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sae_core.config import DataKey, RunConfig, SAEConfig, TrainConfig
from sae_core.data.synthetic import Synthetic, SyntheticConfig
from sae_core.training.pack import start_point
from sae_core.training.run import Run

BATCH, STEPS = 256, 3
LR = {"standard": 1e-4, "mup": 1e-3}  # small, so that changes are in proportion to lr
WIDTHS = (64, 256, 1024, 4096)
KINDS = ("relu", "topk with k = n/64", "topk with k = 4")


@dataclass(frozen=True)
class Change:
    """How much pre-activations and reconstructions have changed, in units of their size at the start."""

    pre_activations: float
    reconstructions: float


def settings(kind: str, n: int) -> SAEConfig:
    """The SAE of one width of a row of the table."""
    if kind == "relu":
        return SAEConfig(n_latents=n, activation="relu", sparsity_coef=0.0)
    return SAEConfig(n_latents=n, k=max(1, n // 64) if "n/64" in kind else 4)


def change(
    source: Synthetic, start: Tensor, sae: SAEConfig, parametrization: str, steps: int = STEPS
) -> Change:
    """Train an SAE for a few steps. start: its initial b_pre."""
    sae = SAEConfig(**vars(sae) | {"parametrization": parametrization})
    train = TrainConfig(lr=LR[parametrization], batch_tokens=BATCH, max_tokens=10**6)
    run = Run(RunConfig(DataKey("x", source.d_model), sae, train).resolved(), start, source.denominator)
    x = source.held_out()
    with torch.no_grad():
        before = run.sae.pre_activations(x), run.sae(x) - run.sae.b_pre
        for step in range(steps):
            run.step(source.rows(BATCH * step, BATCH, seed=0))
        after = run.sae.pre_activations(x), run.sae(x) - run.sae.b_pre
    return Change(*(float((b - a).norm() / a.norm()) for a, b in zip(before, after, strict=True)))


def slope(widths: list[int], values: list[float]) -> float:
    """The exponent of the values over the widths."""
    return float(np.polyfit(np.log(widths), np.log(values), 1)[0])


def main() -> None:
    source = Synthetic(
        SyntheticConfig(d_model=128, n_features=4096, zipf=1.2, l0=4.0, tail=True, held_out=1024)
    )
    start = start_point(source)
    names = ("pre_activations", "reconstructions")
    print(f"| SAE | lr | change of | {' | '.join(f'n = {n:,}' for n in WIDTHS)} | slope |")
    print("|---|---|---|" + "---|" * (len(WIDTHS) + 1))
    for kind in KINDS:
        for parametrization in LR:
            measured = [change(source, start, settings(kind, n), parametrization) for n in WIDTHS]
            for name in names:
                values = [getattr(one, name) for one in measured]
                numbers = " | ".join(f"{100 * value:.2f} %" for value in values)
                label = {"standard": "standard", "mup": "μP"}[parametrization]
                print(
                    f"| {kind} | {label} | {name.replace('_', '-')} | {numbers} | {slope(list(WIDTHS), values):+.2f} |"
                )


if __name__ == "__main__":
    main()
