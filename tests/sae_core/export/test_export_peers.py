"""Exports open in the tools they are for, from PyPI, and reconstruct the same (`make .venv/peers/ready` installs them).

OpenAI's sparse_autoencoder is not on PyPI: its layout is checked against a reader written here from its description.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from sae_core.export.formats import export
from tests.sae_core.export.exported import ABOUT, HELD, D, N, an_sae, dense_latents, inputs

ROOT = Path(__file__).parents[3]
PEERS = Path(sys.prefix) / "peers"
_needs = pytest.mark.skipif(
    not (PEERS / "ready").exists(),
    reason=f"{PEERS} is not there: `make .venv/peers/ready` installs sae-lens, eai-sparsify, and the others",
)


def needs_peers(test):
    """Importing the tools takes a minute of CPU time: `make test-all` only."""
    return pytest.mark.slow(_needs(test))


OPENED = [(tool, activation) for tool, activation in HELD if tool != "openai"]
RELATIVE = 1e-5


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    """{(tool, activation): (reconstruction, latents)}: every export, opened by the real tools in one process."""
    folder = tmp_path_factory.mktemp("peers")
    folders = {}
    for tool, activation in OPENED:
        for kind in ("live", "averaged"):
            sae = an_sae(activation, averaged=kind == "averaged")
            at = export(tool, sae, ABOUT, folder / tool / activation / kind)
            folders[f"{tool} {activation} {kind}"] = (tool, str(at))
    topk = Path(folders["dictionary_learning topk live"][1])
    folders["saebench topk live"] = ("saebench", str(topk))
    torch.save({"x": inputs(), "folders": folders}, folder / "job.pt")
    quiet = {"HF_HUB_OFFLINE": "1", "WANDB_MODE": "disabled", "HOME": str(folder)}
    quiet["SPARSIFY_DISABLE_TRITON"] = "1"  # where triton is installed it is used, and it needs a GPU
    done = subprocess.run(
        [PEERS / "bin" / "python", Path(__file__).with_name("peers_open.py"), folder / "job.pt"],
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | quiet,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return torch.load(folder / "job.pt.out")


@needs_peers
@pytest.mark.parametrize(("tool", "activation"), [*OPENED, ("saebench", "topk")])
def test_the_real_tool_reconstructs_the_same(opened, tool, activation):
    sae, x = an_sae(activation), inputs()
    reconstruction, latents = opened[f"{tool} {activation} live"]
    with torch.no_grad():
        expected, expected_latents = sae(x), dense_latents(sae, x)
    assert (expected - sae.b_pre).norm(dim=1).median() > 0.1  # latents are on
    assert (reconstruction - expected).norm() <= RELATIVE * expected.norm()
    assert (latents - expected_latents).norm() <= RELATIVE * expected_latents.norm()
    assert torch.equal(latents != 0, expected_latents != 0)


@needs_peers
@pytest.mark.parametrize(("tool", "activation"), OPENED)
def test_averaged_weights_whose_rows_are_not_of_unit_norm(opened, tool, activation):
    """Reconstructions only: dictionary_learning moves the norms of a ReLU dictionary into its latents when it loads."""
    sae = an_sae(activation, averaged=True)
    with torch.no_grad():
        expected = sae(inputs())
    assert (sae.W_dec.norm(dim=1) - 1).abs().max() > 0.01
    reconstruction, _ = opened[f"{tool} {activation} averaged"]
    assert (reconstruction - expected).norm() <= RELATIVE * expected.norm()


@needs_peers
def test_the_tools_are_those_that_were_meant(opened):
    versions = opened["versions"]
    assert versions["saelens"].startswith("6.54.") and versions["sparsify"].startswith("1.3.")
    assert versions["dictionary_learning"] == "0.1.0"


@pytest.mark.parametrize("activation", ["topk", "relu"])
def test_openais_layout_read_by_another_implementation(activation, tmp_path):
    """Not their code: a reader of the documented keys, strict about them as `load_state_dict` is."""
    sae, x = an_sae(activation), inputs()
    state = torch.load(export("openai", sae, ABOUT, tmp_path / "out") / "autoencoder.pt", weights_only=True)
    name, inner = state.pop("activation"), state.pop("activation_state_dict", {})
    assert {key: tuple(t.shape) for key, t in state.items()} == {
        "pre_bias": (D,),
        "latent_bias": (N,),
        "encoder.weight": (N, D),
        "decoder.weight": (D, N),
        "stats_last_nonzero": (N,),
        "latents_activation_frequency": (N,),
        "latents_mean_square": (N,),
    }
    assert state["stats_last_nonzero"].dtype == torch.int64
    pre = F.linear(x - state["pre_bias"], state["encoder.weight"], state["latent_bias"])
    if name == "TopK":
        values, indices = pre.topk(inner["k"], dim=-1)
        assert inner["postact_fn"] == "ReLU"
        latents = torch.zeros_like(pre).scatter_(-1, indices, values.relu())
    else:
        assert name == "ReLU" and not inner
        latents = pre.relu()
    with torch.no_grad():
        expected = sae(x)
    reconstruction = F.linear(latents, state["decoder.weight"]) + state["pre_bias"]
    assert (reconstruction - expected).norm() <= RELATIVE * expected.norm()
