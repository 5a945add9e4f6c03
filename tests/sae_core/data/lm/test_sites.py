"""A site is the same part of the residual stream in every architecture, and other tools find it by the name it gets."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from sae_core.data.configs import HarvestConfig, Site
from sae_core.errors import DataError

pytest.importorskip("transformers", reason="needs transformers: pip install 'saescale[lm]'")

from tests.sae_core.data.lm.architectures import (  # noqa: E402
    ARCHITECTURES,
    LAYER,
    language_model,
    model,
    tokens,
)

ROOT = Path(__file__).parents[4]
PEERS = Path(sys.prefix) / "peers"
STREAM = ("resid_pre", "attn_out", "mlp_out", "resid_post")


def read_by_hand(kind, modules):
    """{path: (first input, output)} of modules, by hooks of this test on the model without its head."""
    modules = list(modules)
    whole, seen = model(kind, attn_implementation="eager"), dict.fromkeys(modules)

    def keep(path, module, inputs, named, output):
        output = output[0] if isinstance(output, tuple) else output
        given = inputs[0] if inputs else named["hidden_states"]
        seen[path] = [x.reshape(*tokens().shape, -1).clone() for x in (given, output)]

    for path in modules:
        whole.get_submodule(path).register_forward_hook(
            lambda module, inputs, named, output, path=path: keep(path, module, inputs, named, output),
            with_kwargs=True,
        )
    with torch.no_grad():
        whole(tokens())
    return seen


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_a_site_is_what_it_means_in_every_architecture(kind):
    known = ARCHITECTURES[kind]
    block = f"{known.blocks}.{LAYER - 1}"
    sites = [*STREAM, *(["resid_mid"] if known.mid else [])]
    lm = language_model(kind, [Site(LAYER, name) for name in sites])
    rows = dict(zip(sites, lm.activations(tokens()), strict=True))
    paths = [block, f"{block}.{known.attention}", f"{block}.{known.mlp}"]
    (before, after), *added = read_by_hand(kind, paths).values()
    attention, mlp = (known.factor * output for _, output in added)
    for name, expected in zip(STREAM, (before, attention, mlp, after), strict=True):
        torch.testing.assert_close(rows[name], expected, atol=2e-6, rtol=1e-5)
    torch.testing.assert_close(before + attention + mlp, after, atol=1e-5, rtol=1e-5)
    assert min(attention.norm(), mlp.norm()) > 0.05 * before.norm()  # neither is lost in the other's rounding
    if known.mid:
        torch.testing.assert_close(rows["resid_mid"], before + attention, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_sparsify_finds_the_module_by_its_name_and_reads_the_same(kind):
    known = ARCHITECTURES[kind]
    lm = language_model(kind, [Site(LAYER, name) for name in (*STREAM, "mlp_in")])
    names = {place.site.name: place.names["sparsify"].name for place in lm.places}
    block = f"{known.blocks}.{LAYER - 1}"
    assert names["resid_post"] == block and names["resid_pre"] == f"{known.blocks}.{LAYER - 2}"
    if known.factor == 1:
        assert (names["attn_out"], names["mlp_out"]) == (f"{block}.{known.attention}", f"{block}.{known.mlp}")
    else:
        why = lm.places[1].names["sparsify"].why
        assert names["attn_out"] is None and f"{known.factor} × the output of {block}.self_attn" in why
    seen = read_by_hand(kind, filter(None, names.values()))
    for place, rows in zip(lm.places, lm.activations(tokens()), strict=True):
        if path := names[place.site.name]:
            torch.testing.assert_close(seen[path][1], rows, atol=2e-6, rtol=1e-5)


def test_the_mlp_reads_what_follows_its_norm():
    for kind, module in (
        ("gpt2", "mlp"),
        ("gemma2", "mlp"),
        ("olmo2", "mlp"),
        ("opt", "fc1"),
        ("phi", "mlp"),
    ):
        path = f"{ARCHITECTURES[kind].blocks}.{LAYER - 1}.{module}"
        lm = language_model(kind, [Site(LAYER, "mlp_in")])
        torch.testing.assert_close(lm.activations(tokens())[0], read_by_hand(kind, [path])[path][0])


def test_a_module_that_adds_the_stream_itself_is_read_as_a_difference():
    """BLOOM with weights in slices calls no layer that returns the addend alone."""
    known = ARCHITECTURES["bloom"]
    options = {"slow_but_exact": True, "pretraining_tp": 2}
    known.options.update(options)
    try:
        lm = language_model("bloom", [Site(LAYER, name) for name in STREAM])
        paths = [f"h.1.{name}" for name in ("self_attention", "mlp")]
        mid, after = (output for _, output in read_by_hand("bloom", paths).values())
    finally:
        for key in options:
            del known.options[key]
    before, attention, mlp, _ = lm.activations(tokens())
    torch.testing.assert_close(attention, mid - before)
    torch.testing.assert_close(mlp, after - mid)
    assert lm.places[1].about()["arithmetic"] == "output of h.1.self_attention, minus the input of h.1"
    assert lm.places[1].names["sparsify"].name is None


def test_a_site_that_a_model_lacks_is_refused_with_those_it_has():
    with pytest.raises(
        DataError, match="added at once; it has resid_pre, resid_post, mlp_in, mlp_out, attn_out, and"
    ):
        language_model("phi", [Site(LAYER, "resid_mid")])
    with pytest.raises(DataError, match="'resid_dropout', a module called 2 times in a forward pass"):
        language_model("phi", [Site(LAYER, "resid_dropout")])


def test_a_modules_path_is_named_after_the_site_that_it_is():
    """Gemma 2 norms what its MLP returns before it is added, Llama does not."""
    for kind, hook in (("llama", "blocks.1.hook_mlp_out"), ("gemma2", None)):
        (place,) = language_model(kind, [Site(LAYER, "mlp")]).places
        assert place.names["transformer_lens"].name == hook
        assert place.names["sparsify"].name == "layers.1.mlp"
    assert "no hook that is known to be the output of 'mlp'" in place.names["transformer_lens"].why


def test_old_configs_keep_their_identity():
    plain = {"name": "n", "model": "m", "layer": 3, "text": "t", "tokens": 9, "held_out": 1}
    cfg = HarvestConfig(**plain)
    assert "site" not in cfg.identity() and cfg.identity()["hook"] is None
    old, new = HarvestConfig(**plain, hook="mlp"), HarvestConfig(**plain, site="mlp")
    assert old.identity() == new.identity() and old.identity()["hook"] == "mlp"
    assert HarvestConfig(**plain, site="mlp_out").identity() == cfg.identity() | {"site": "mlp_out"}


@pytest.mark.slow
@pytest.mark.skipif(not (PEERS / "ready").exists(), reason=f"{PEERS} is not there: `make .venv/peers/ready`")
def test_transformer_lens_caches_the_same_under_the_name():
    done = subprocess.run(
        [PEERS / "bin" / "python", "-m", "tests.sae_core.data.lm.lens", *ARCHITECTURES],
        capture_output=True,
        text=True,
        timeout=600,
        cwd=ROOT,
        env=os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    for kind, sites in json.loads(done.stdout.strip().splitlines()[-1]).items():
        unnamed = {site for site, (_, *error) in sites.items() if not error}
        assert unnamed == (
            {"resid_mid"} if ARCHITECTURES[kind].mid is None else {"mlp_in"} if kind == "opt" else set()
        )
        assert max(error for _, *errors in sites.values() for error in errors) < 1e-5, (kind, sites)
