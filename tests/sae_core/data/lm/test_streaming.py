"""A stream that is not stored: the rows of a harvest, each once an epoch, a function of place and seed alone."""

import dataclasses
import hashlib
import json
import threading

import pytest
import torch

from sae_core.data.configs import HarvestConfig
from sae_core.data.disk.store import Store
from sae_core.data.lm.corpus import Corpus
from sae_core.data.lm.harvest import harvest
from sae_core.data.lm.streaming import Streaming, StreamingConfig
from sae_core.errors import DataError
from sweeps.config.data import describe, open_source
from sweeps.dispatch.launch import launch
from sweeps.planning.plan import make_plan
from sweeps.verbs.cli import main
from tests.sae_core.data.tiny_models import WIDTH, overrides
from tests.sweeps.worker.test_worker import curves, killed_after_some_progress, planned

pytest.importorskip("transformers", reason="needs transformers: pip install 'saescale[lm]'")

PER_CONTEXT, CONTEXTS, BLOCK = 8, 32, 40  # rows; blocks of 5 contexts, so that they span the ends of epochs
EPOCH = CONTEXTS * PER_CONTEXT


@pytest.fixture
def cfg(lm, text):
    return HarvestConfig(
        name="tiny",
        model=str(lm),
        layer=2,
        text=str(text),
        tokens=EPOCH + 48,
        held_out=48,
        context=PER_CONTEXT + 1,
        held_out_every=4,
        shard_rows=64,
        compute="float32",
        batch_contexts=5,
    )


def stream(cfg, buffer_tokens=BLOCK + 3):
    return Streaming(cfg, StreamingConfig(buffer_tokens=buffer_tokens, sample_tokens=100), device="cpu")


def test_an_epoch_is_what_the_harvest_would_store_in_another_order(cfg, tmp_path):
    cfg = dataclasses.replace(cfg, batch_contexts=1)  # the same bits, whichever contexts are read together
    store, source = Store(harvest(cfg, tmp_path / "s", device="cpu")), stream(cfg, buffer_tokens=32)
    assert (source.d_model, source.n_train) == (store.d_model, store.n_train) == (WIDTH, EPOCH)
    assert torch.equal(source.held_out(), store.held_out())
    expected = sorted(store.rows(0, EPOCH, seed=3).tolist())
    for epoch in (0, 1):
        rows = source.rows(epoch * EPOCH, EPOCH, seed=3)
        assert rows.dtype == torch.float32 and sorted(rows.tolist()) == expected
    assert not torch.equal(rows, store.rows(EPOCH, EPOCH, seed=3))
    assert source.denominator == pytest.approx(store.denominator, rel=0.05)  # x̄ of 100 rows, not of 256


@pytest.mark.parametrize("size", [7, 40, 111])
def test_any_rows_can_be_read_alone(cfg, size):
    source = stream(cfg)
    length = 2 * EPOCH + 30
    whole = torch.cat([source.rows(a, min(size, length - a), seed=1) for a in range(0, length, size)])
    for start in (0, 39, 41, 250, EPOCH + 100, length - 20):
        assert torch.equal(stream(cfg).rows(start, 20, seed=1), whole[start : start + 20])
    assert not torch.equal(whole[:EPOCH], source.rows(0, EPOCH, seed=2))
    assert not torch.equal(whole[:BLOCK], whole[EPOCH : EPOCH + BLOCK])


def test_rows_of_a_block_are_shuffled_across_its_contexts(cfg):
    source = stream(dataclasses.replace(cfg, prepare="none", dtype="float32"))
    block = source.rows(0, BLOCK, seed=0)
    contexts = source._corpus.train.ids[source._contexts(0, 0)]
    raw = source._corpus.activations(contexts)[0]
    origin = torch.cdist(block, raw).argmin(dim=1)
    assert sorted(origin.tolist()) == list(range(BLOCK))
    assert len((origin[:10] // PER_CONTEXT).unique()) >= 4  # the first ten rows are of nearly every context
    another = torch.cdist(source.rows(BLOCK, BLOCK, seed=0), raw).min(dim=1).values
    assert (another > 1e-3).all()  # and the next block of none of them


def test_a_dropped_row_leaves_its_place_to_another(cfg, tmp_path):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(cfg.model)
    with torch.no_grad():
        model.model.embed_tokens.weight[2] *= 50
    model.save_pretrained(tmp_path / "sink")
    AutoTokenizer.from_pretrained(cfg.model).save_pretrained(tmp_path / "sink")
    cfg = dataclasses.replace(cfg, model=str(tmp_path / "sink"), prepare="none", dtype="float32")
    source, every = stream(dataclasses.replace(cfg, drop_above=8.0)), stream(cfg)
    limit = source._norm_limit
    blocks = [(s.rows(a, BLOCK, 0) for s in (source, every)) for a in range(0, 6 * BLOCK, BLOCK)]
    dropped = 0
    for kept, raw in blocks:
        within = raw[raw.norm(dim=1) <= limit]
        dropped += len(raw) - len(within)
        assert torch.equal(kept, torch.cat([within, within])[:BLOCK])
    assert dropped > 0
    assert (source.held_out().norm(dim=1) <= limit).all() and len(source.held_out()) < len(every.held_out())


def test_only_the_blocks_that_are_read_are_computed_and_two_are_kept(cfg, monkeypatch):
    source = stream(cfg)
    source.rows(0, 1, 0)
    read = []
    activations = Corpus.activations
    monkeypatch.setattr(
        Corpus, "activations", lambda self, ids: read.append(len(ids)) or activations(self, ids)
    )
    source.rows(10 * BLOCK + 5, BLOCK, 0)  # two blocks of 5 contexts
    assert read == [5, 5]
    source.rows(10 * BLOCK, 2 * BLOCK, 0)
    assert read == [5, 5]
    source.rows(12 * BLOCK, 1, 0)
    source.rows(11 * BLOCK, 1, 0)
    assert read == [5, 5, 5]


def test_one_thread_may_read_ahead(cfg):
    alone, shared = stream(cfg), stream(cfg)
    expected = alone.rows(0, 4 * BLOCK, 0), alone.held_out(), alone.sample(50), alone.denominator
    ahead = []
    thread = threading.Thread(target=lambda: ahead.append(shared.rows(0, 4 * BLOCK, 0)))
    thread.start()
    rest = shared.held_out(), shared.sample(50), shared.denominator
    thread.join()
    for a, b in zip((ahead[0], *rest[:2]), expected[:3], strict=True):
        assert torch.equal(a, b)
    assert rest[2] == expected[3]
    assert not ahead[0].is_inference()


def test_planning_does_not_load_the_model_and_a_moved_one_is_the_same_stream(cfg, tmp_path, monkeypatch):
    import sae_core.data.lm.corpus

    data = {"name": "s", "harvest": dataclasses.asdict(cfg), "streaming": {"buffer_tokens": BLOCK}}
    monkeypatch.setattr(
        sae_core.data.lm.corpus, "load_language_model", lambda *_: pytest.fail("the model was loaded")
    )
    facts = describe(data)
    assert (facts.d_model, facts.train_tokens, facts.held_out_tokens) == (WIDTH, EPOCH, 48)
    (tmp_path / "lm").symlink_to(cfg.model)
    moved = json.loads(json.dumps(data)) | {"name": "t"}
    moved["harvest"] |= {"model": str(tmp_path / "lm"), "name": "t", "shard_rows": 5}
    assert describe(moved).fingerprint == facts.fingerprint
    prints = {facts.fingerprint}
    for key, value in {"layer": 3, "seed": 1, "tokens": 80, "context": 6, "drop_above": 9.0}.items():
        prints.add(describe(data | {"harvest": data["harvest"] | {key: value}}).fingerprint)
    prints.add(describe(data | {"streaming": {"buffer_tokens": 48}}).fingerprint)
    assert len(prints) == 7


def test_a_change_of_the_models_files_is_another_stream(cfg, tmp_path):
    import shutil

    before = stream(cfg).fingerprint
    shutil.copytree(cfg.model, tmp_path / "lm")
    copy = dataclasses.replace(cfg, model=str(tmp_path / "lm"))
    assert stream(copy).fingerprint == before
    tokenizer = tmp_path / "lm" / "tokenizer.json"
    tokenizer.write_text(tokenizer.read_text() + "\n")
    assert stream(copy).fingerprint != before


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ({"streaming": {"buffer_tokens": 0}}, "buffer_tokens is 0"),
        ({"store": "s"}, "is streaming, and data.store"),
        ({"harvest": None}, "has no data.harvest"),
        ({"d_model": 64}, "has d_model = 32; data.d_model asks for 64"),
    ],
)
def test_what_cannot_be_streamed_is_one_sentence(cfg, data, says):
    good = {"name": "s", "harvest": dataclasses.asdict(cfg), "streaming": {"buffer_tokens": BLOCK}}
    with pytest.raises(ValueError, match=says) as raised:
        open_source(good | data)
    assert "\n" not in str(raised.value)


def test_text_too_short_is_said_when_the_model_is_there(cfg):
    with pytest.raises(DataError, match="fewer than the 99,952 asked for"):
        stream(dataclasses.replace(cfg, tokens=100_000)).rows(0, 1, 0)


def study(cfg, *more):
    """A tiny study on the stream: 2 SAEs over 4 epochs."""
    words = overrides(cfg, data="streaming")
    words += [f"data.streaming.buffer_tokens={BLOCK}", "data.streaming.sample_tokens=100", "name=streamed"]
    words += [
        "sae.n_latents=32",
        "sae.k=2,3",
        "sae.dead_tokens=500",
        "train.lr=3e-3",
        "train.batch_tokens=16",
    ]
    words += ["train.max_tokens=1600", "train.first_eval_tokens=32", "train.evals_per_doubling=8"]
    return [*words, "launcher.heartbeat_s=0.1", *more]


@pytest.mark.slow
def test_a_study_on_a_stream_survives_kill_9_to_the_last_bit(cfg, tmp_path):
    cfg = dataclasses.replace(cfg, batch_contexts=1)
    calm, _ = planned(study(cfg, f"runs={tmp_path / 'calm'}"))
    launch(make_plan(study(cfg, f"runs={tmp_path / 'calm'}", "launcher=debug")))
    rough, ids = planned(study(cfg, f"runs={tmp_path / 'rough'}"))
    for pause in (0.05, 0.02):
        killed_after_some_progress(rough.study, ids, pause)
    launch(make_plan(study(cfg, f"runs={tmp_path / 'rough'}", "launcher=debug")))
    assert curves(rough.study) == curves(calm.study)
    assert {len(curve) for curve in curves(calm.study).values()} == {len(calm.study.runs()[0].curve())}
    digest = [
        hashlib.sha256((f.checkpoints / "weights.safetensors").read_bytes()).hexdigest()
        for s in (calm.study, rough.study)
        for f in s.runs()
    ]
    assert digest[:2] == digest[2:]
    assert main(["collect", str(calm.study.path)]) == 0
