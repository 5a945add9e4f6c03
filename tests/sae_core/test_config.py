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
        {"target": 0.0},
        {"target": 1.0},
        {"ema": 1.0},
        {"clip_grad": -1.0},
        {"stop": "never"},
        {"lr_schedule": "step"},
        {"activation": "gelu"},
        {"init_scale": "big"},
        {"k_aux": 0},
        {"adam_eps": 0.0},
        {"auxk_coef": -0.1},
        {"evals_per_doubling": 0},
        {"k": None},
        {"precision": "fp8"},
        {"micro_batch_tokens": 0},
        {"fused_update": True, "clip_grad": 1.0},
        {"fused_update": True, "matryoshka": 2},
        {"fused_update": True, "activation": "relu", "k": None, "sparsity_coef": 0.1},
        {"sparsity_coef": 0.1},  # topk has no penalty
        {"sparsity_coef": None, "activation": "relu", "k": None},
        {"sparsity_coef": -1.0, "activation": "relu", "k": None},
        {"k": 4, "activation": "jumprelu", "sparsity_coef": 0.1},
        {"auxk_coef": 0.1, "activation": "relu", "k": None, "sparsity_coef": 0.1},
        {"encoder_bias": False, "activation": "gated", "k": None, "sparsity_coef": 0.1},
        {"multi_topk": True, "activation": "batchtopk"},
        {"multi_topk": True, "k": 33},  # 4k > n
        {"matryoshka": 0},
        {"matryoshka": 9},  # n/2⁸ is no whole number
        {"matryoshka": 7},  # n/2⁶ = 2 latents are fewer than k
        {"matryoshka": 2, "activation": "relu", "k": None, "sparsity_coef": 0.1},
        {"init_threshold": 0.0},
        {"bandwidth": 0.0},
        {"parametrization": "mup", "activation": "jumprelu", "k": None, "sparsity_coef": 0.1},
    ],
)
def test_impossible_values_are_named(values):
    (key, value), *_ = values.items()
    with pytest.raises(ConfigError) as error:
        validate(with_values(**values))
    # What a study must give has 0 or null for "not given", and no message shows these in its place.
    unset = value is None or value == 0 and key in ("n_latents", "lr", "max_tokens")
    assert key in str(error.value) and ("not set" if unset else str(value)) in str(error.value)


@pytest.mark.parametrize(
    ("d_model", "k_aux"), [(768, 512), (576, 256), (128, 64), (1024, 512), (2, 1), (1, 1)]
)
def test_k_aux_is_the_power_of_two_nearest_to_half_of_d(d_model, k_aux):
    assert default_k_aux(d_model) == k_aux


@pytest.mark.parametrize("activation", ["relu", "jumprelu", "gated"])
def test_activations_without_ranks_have_a_bias_and_no_auxk(activation):
    run = with_values(activation=activation, k=None, sparsity_coef=0.1).resolved()
    validate(run)
    assert run.sae.encoder_bias and run.sae.auxk_coef == 0


def test_defaults_are_written_out_once_and_given_values_stay():
    ranked = with_values(activation="batchtopk").resolved()
    assert (ranked.sae.auxk_coef, ranked.sae.encoder_bias) == (1 / 32, False)
    own = with_values(auxk_coef=0.0, encoder_bias=True, k_aux=3)
    assert own.resolved() == own and ranked.resolved() == ranked


@pytest.mark.parametrize("stop", ["budget", "converged"])
def test_a_target_that_nothing_reads_makes_no_other_run(stop):
    assert with_values(stop=stop, target=0.02).resolved() == with_values(stop=stop).resolved()
    assert with_values(stop="predicted", target=0.02).resolved().train.target == 0.02


def test_a_run_survives_the_way_to_yaml_and_back():
    assert RunConfig.from_dict(GOOD.resolved().as_dict()) == GOOD.resolved()
