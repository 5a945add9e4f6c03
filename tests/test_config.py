"""Every impossible run is refused with one sentence that names the key and its value."""

from dataclasses import replace

import pytest

from sae_core.config import DataKey, RunConfig, SAEConfig, TrainConfig, default_k_aux, validate
from sae_core.errors import ConfigError

GOOD = RunConfig(
    DataKey("f", 64), SAEConfig(n_latents=128, k=4), TrainConfig(lr=1e-3, batch_tokens=8, max_tokens=64)
)


def with_values(**values):
    sae = {k: v for k, v in values.items() if k in SAEConfig.__dataclass_fields__}
    train = {k: v for k, v in values.items() if k in TrainConfig.__dataclass_fields__}
    return replace(GOOD, sae=replace(GOOD.sae, **sae), train=replace(GOOD.train, **train))


def test_a_possible_run_passes():
    validate(GOOD)


@pytest.mark.parametrize(
    "values",
    [
        {"n_latents": 0},
        {"k": 0},
        {"k": 129},
        {"k": 64},
        {"lr": 0.0},
        {"lr": float("nan")},
        {"lr": float("inf")},
        {"auxk_coef": float("inf")},
        {"batch_tokens": 65},
        {"max_tokens": 0},
        {"epsilon": 0.0},
        {"ema": 1.0},
        {"clip_grad": -1.0},
        {"stop": "never"},
        {"lr_schedule": "cosine"},
        {"activation": "gelu"},
        {"init_scale": "big"},
        {"k_aux": 0},
        {"adam_eps": 0.0},
        {"auxk_coef": -0.1},
        {"evals_per_doubling": 0},
    ],
)
def test_impossible_values_are_named(values):
    (key, value), *_ = values.items()
    with pytest.raises(ConfigError) as error:
        validate(with_values(**values))
    assert key in str(error.value) and str(value) in str(error.value)


@pytest.mark.parametrize(
    ("d_model", "k_aux"), [(768, 512), (576, 256), (128, 64), (1024, 512), (2, 1), (1, 1)]
)
def test_k_aux_is_the_power_of_two_nearest_to_half_of_d(d_model, k_aux):
    assert default_k_aux(d_model) == k_aux


def test_a_run_survives_the_way_to_yaml_and_back():
    assert RunConfig.from_dict(GOOD.resolved().as_dict()) == GOOD.resolved()
