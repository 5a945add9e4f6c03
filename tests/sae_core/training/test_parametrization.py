"""μP: with it the size of an update does not depend on the width, and without it does (the coordinate check)."""

import pytest
import torch

from benchmarks.coordinate_check import change, settings, slope
from sae_core.config import DataKey, RunConfig, SAEConfig, TrainConfig, validate
from sae_core.data.synthetic import Synthetic, SyntheticConfig
from sae_core.errors import ConfigError
from sae_core.training.pack import start_point
from sae_core.training.run import Run


@pytest.fixture(scope="module")
def data() -> Synthetic:
    return Synthetic(SyntheticConfig(d_model=64, n_features=1024, l0=4.0, held_out=512))


@pytest.fixture(scope="module")
def start(data) -> torch.Tensor:
    return start_point(data)


def run(data: Synthetic, start: torch.Tensor, lr: float, parametrization: str, scale: float = 1.0) -> Run:
    sae = SAEConfig(n_latents=256, k=4, parametrization=parametrization)
    train = TrainConfig(lr=lr, batch_tokens=256, max_tokens=10**6)
    config = RunConfig(DataKey("x", data.d_model), sae, train).resolved()
    return Run(config, scale * start, scale**2 * data.denominator)


@pytest.mark.parametrize("kind", ["relu", "topk with k = n/64"])
def test_the_coordinate_check(data, start, kind):
    widths = [64, 256, 1024]
    slopes = {}
    for parametrization in ("standard", "mup"):
        measured = [change(data, start, settings(kind, n), parametrization) for n in widths]
        for name in ("pre_activations", "reconstructions"):
            slopes[parametrization, name] = slope(widths, [getattr(one, name) for one in measured])
    assert abs(slopes["mup", "pre_activations"]) < 0.1 and slopes["standard", "pre_activations"] > 0.3, slopes
    if kind == "relu":  # the k largest are others after a step, of which the width decides how many
        assert abs(slopes["mup", "reconstructions"]) < 0.1 and slopes["standard", "reconstructions"] > 0.3, (
            slopes
        )


def test_each_tensor_moves_by_the_share_lr_of_its_own_size(data, start):
    one = run(data, start, 1e-3, "mup")
    before = {name: p.detach().clone() for name, p in one.sae.named_parameters()}
    one.step(data.rows(0, 256, seed=0))
    for name in ("W_enc", "W_dec"):
        moved, w = one.sae.get_parameter(name).detach() - before[name], before[name]
        share = moved.norm(dim=1) / w.norm(dim=1)
        assert share.max() == pytest.approx(1e-3, rel=0.05)  # Adam's first step is lr in every entry
    moved = (one.sae.b_pre - before["b_pre"]).detach()
    assert float(moved.abs().max()) == pytest.approx(1e-3 * (data.denominator / 64) ** 0.5, rel=1e-3)


def test_data_in_other_units_are_trained_alike(data, start):
    """Inputs ten times as large: the same loss at the same lr. Without μP b_pre moves too little."""
    losses = {}
    for parametrization, lr in (("standard", 0.003), ("mup", 0.03)):
        for scale in (1.0, 10.0):
            one = run(data, start, lr, parametrization, scale)
            for step in range(10):
                one.step(scale * data.rows(256 * step, 256, seed=0))
            losses[parametrization, scale] = one.evaluate(scale * data.held_out())["nmse_live"]
    assert losses["mup", 10.0] == pytest.approx(losses["mup", 1.0], rel=1e-3)
    assert losses["standard", 10.0] != pytest.approx(losses["standard", 1.0], rel=2e-3)


def test_it_is_refused_without_the_scale_that_it_rests_on():
    config = SAEConfig(n_latents=64, k=4, parametrization="mup", init_scale="tied")
    with pytest.raises(ConfigError, match="norm with sae.parametrization=mup"):
        validate(RunConfig(DataKey("x", 32), config, TrainConfig(lr=1e-3, batch_tokens=64, max_tokens=64)))
