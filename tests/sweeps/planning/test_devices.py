"""The model of a GPU: hours by hand, in the plan until runs have been measured."""

import pytest

from sae_core.config import DataKey, RunConfig, SAEConfig, TrainConfig
from sweeps.config.launcher import Launcher
from sweeps.errors import SweepError
from sweeps.planning import cost
from sweeps.planning.devices import DEVICES, device

RUN = RunConfig(
    DataKey("a", 768),
    SAEConfig(n_latents=131_072, k=32),
    TrainConfig(lr=1e-4, batch_tokens=131_072, max_tokens=131_072 * 1000, precision="tf32"),
)


def test_seconds_are_the_dense_product_and_the_bytes_that_move():
    dense = 2 * 131_072 * 768 * 131_072 / (0.4 * 494e12)
    moved = 4 * (2 * 131_072 * 131_072 + 4 * 32 * 768 * 131_072 + 9 * 2 * 131_072 * 768)
    step = dense + moved / (0.5 * 3.35e12)
    assert DEVICES["H100"].seconds(RUN) == pytest.approx(1000 * step)
    assert DEVICES["H200"].seconds(RUN) == pytest.approx(1000 * (dense + moved / (0.5 * 4.8e12)))


def test_model_gives_way_to_what_is_known():
    modelled = cost.throughput(Launcher(device="cuda", gpu="A100"), [])
    assert cost.seconds(RUN, modelled) == DEVICES["A100"].seconds(RUN) and "not measured" in modelled.text
    configured = cost.throughput(Launcher(device="cuda", gpu="A100", flops_per_s=1e12), [])
    assert cost.seconds(RUN, configured) == pytest.approx(cost.flops_sparse(RUN) / 1e12)

    class Ended:
        def environment(self):
            return {"device": "NVIDIA A100"}

        def result(self):
            return {"flops_sparse": 3e15, "train_seconds": 100.0}

    measured = cost.throughput(Launcher(device="cuda", gpu="A100"), [Ended()])
    assert measured.flops_per_s == 3e13 and measured.source == "measured on 1 runs"
    assert cost.throughput(Launcher(device="cpu", gpu="A100"), []) is None


def test_unknown_gpu_is_a_sentence():
    with pytest.raises(SweepError, match="launcher.gpu is 'B200'; known are A100, H100, H200"):
        device("B200")
