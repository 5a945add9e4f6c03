"""The learning rate of each step: warm-up, a constant part, and a decay over the last share of the budget."""

import math
from dataclasses import replace

from sae_core.config import RunConfig, TrainConfig

# How much of the learning rate is left at the share u of the decay, 0 ≤ u < 1.
DECAYS = {
    "linear": lambda u: 1 - u,
    "sqrt": lambda u: 1 - math.sqrt(u),
    "cosine": lambda u: (1 + math.cos(math.pi * u)) / 2,
}


def rate(train: TrainConfig, tokens: int) -> float:
    """The learning rate of the step after `tokens` tokens, as a multiple of lr.

        min(1, (D + B)/W) · f(u),   u = (D − D₀)/(D₁ − D₀), or 0 before D₀

    D: tokens seen before the step; B: tokens of the step; W: `warmup_tokens`; D₀: end of the constant part; D₁: the
    budget; f: the decay, 1 for `constant`. The step that completes the warm-up and the first step of the decay have
    the full lr, the last step has f(1 − B/(D₁ − D₀)).

    A constant lr with a decay over the last fifth is as good as a cosine over the whole budget, and "sqrt" better than
    "linear", in language models (Hägele et al. 2024, arXiv 2405.18392).
    """
    warm = min(1.0, (tokens + train.batch_tokens) / train.warmup_tokens) if train.warmup_tokens else 1.0
    start, end = train.constant_tokens, train.budget
    if tokens < start or train.lr_schedule == "constant":
        return warm
    return warm * DECAYS[train.lr_schedule]((tokens - start) / (end - start))


def trunk(config: RunConfig) -> RunConfig:
    """The config without what matters only after the constant part: runs with one trunk are equal as long as both are
    in their constant parts.
    """
    default = TrainConfig()
    train = replace(
        config.train,
        lr_schedule="constant",
        decay_share=None,
        max_tokens=default.max_tokens,
        stop=default.stop,
        epsilon=default.epsilon,
        target=default.target,
    )
    return replace(config, train=train)
