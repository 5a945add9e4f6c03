"""No text is in both splits, every token of a text is accounted for, and what old stores did is said."""

import dataclasses
import hashlib
import json
import unicodedata

import numpy as np
import pytest

from sae_core.data.configs import BEFORE, HarvestConfig, StreamingConfig, check
from sae_core.data.disk.manifest import MANIFEST
from sae_core.data.disk.store import Store
from sae_core.data.lm.contexts import Special, contexts, special_tokens
from sae_core.data.lm.duplicates import distinct, in_both, normalised
from sae_core.data.lm.harvest import harvest
from sae_core.data.lm.model_files import ModelFiles
from sae_core.data.lm.streaming import Streaming
from sae_core.data.lm.text import documents, fingerprint, other_files, split_documents
from sae_core.errors import DataError
from sweeps.dispatch.harvest import described
from tests.sae_core.data.tiny_models import WORDS, overrides

pytest.importorskip("transformers", reason="needs transformers: pip install 'saescale[lm]'")
WORDS_A_CONTEXT = 8


def write(folder, texts):
    folder.mkdir(exist_ok=True)
    for i, text in enumerate(texts):
        (folder / f"{i:03d}.txt").write_text(text, encoding="utf-8", newline="")
    return folder


def sentence(number, words=40):
    return " ".join(np.random.default_rng(number).choice(WORDS, size=words))


@pytest.fixture
def cfg(lm, tmp_path):
    return HarvestConfig(
        name="tiny",
        model=str(lm),
        layer=1,
        text=str(tmp_path / "text"),
        tokens=100,
        held_out=20,
        context=WORDS_A_CONTEXT + 1,
        held_out_every=4,
        compute="float32",
    )


def texts_of(split):
    return {normalised(document.path.read_text()) for document in split}


def test_a_text_with_one_more_newline_is_on_one_side_of_the_split(tmp_path):
    """The leak as a user had it: 20 texts, each also with one more newline. 6 of 8 held-out ones were in training."""
    texts = [sentence(i) for i in range(20)]
    folder = write(tmp_path / "text", [*texts, *(f"{text}\n" for text in texts)])
    found = documents(str(folder), 0)
    before = split_documents(distinct(found, "keep", None).documents, 5)
    assert in_both(*before) == len(texts_of(before[0]) & texts_of(before[1])) == 6
    assert len(before[1]) == 8
    read = distinct(found, "drop", None)
    train, held_out = split_documents(read.documents, 5)
    assert not texts_of(train) & texts_of(held_out) and in_both(train, held_out) == 0
    assert (len(train), len(held_out)) == (16, 4)
    assert (read.found, read.exact, read.normalised, read.near) == (40, 0, 20, None)


def test_copies_are_counted_by_kind_and_the_first_is_read(tmp_path):
    text = "The ﬁrst café,\n STRASSE  of 2024."
    copies = [
        text,
        text,
        unicodedata.normalize("NFD", text),
        "the first café, straße of 2024.",
        f"\ufeff{text}\r\n\t",
        "The first café, Strasse of 2025.",
    ]
    found = documents(str(write(tmp_path / "text", copies)), 0)
    read = distinct(found, "drop", None)
    assert (len(read.documents), read.exact, read.normalised) == (2, 1, 3)
    assert [d.path for d in read.documents] == [
        next(d.path for d in found if d.sha256 == one.sha256) for one in read.documents
    ]
    assert len(distinct(found, "keep", None).documents) == 6


def test_near_copies_are_dropped_where_they_are_asked_for(tmp_path):
    """Two of 400 words changed leave J = 386/406 = 0.95 of the five-word runs; half of the words changed, 0.33."""
    words = [f"word{i}" for i in range(400)]
    near = [*words[:100], "other", *words[101:300], "others", *words[301:]]
    half = [*words[:200], *(f"new{i}" for i in range(200))]
    folder = write(tmp_path / "text", [" ".join(each) for each in (words, near, half)])
    for without_spaces in (False, True):
        if without_spaces:
            for path in folder.iterdir():
                path.write_text(path.read_text().replace(" ", ""))
        read = distinct(documents(str(folder), 0), "drop", 0.8)
        assert (len(read.documents), read.near) == (2, 1)
    assert len(distinct(documents(str(folder), 0), "drop", None).documents) == 3


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"duplicates": "exact"}, "duplicates is 'exact'; it must be one of drop, keep"),
        ({"special_tokens": "no"}, "special_tokens is 'no'"),
        ({"near_duplicates": 1.0}, "near_duplicates is 1.0 .* above 0 and below 1"),
        ({"near_duplicates": 0.8, "duplicates": "keep"}, "needs duplicates = drop"),
    ],
)
def test_settings_that_cannot_be_are_one_sentence(cfg, change, says):
    with pytest.raises(DataError, match=says):
        check(dataclasses.replace(cfg, **change))


def test_every_token_is_accounted_for(cfg, tmp_path):
    """Long, short and empty documents, with literal <bos>: what comes in is the sum of what is said."""
    texts = [sentence(i, words) for i, words in enumerate([40, 33, 21, 17, 7, 3, 29, 50, 64, 30, 8, 12])]
    for word in ("w7 ", "w17 ", "w27 "):
        texts = [
            text.replace(word, f"{word}<bos> ").replace(f" {word[:-2]}8 ", " nothing ") for text in texts
        ]
    write(tmp_path / "text", [*texts, texts[0].replace(" ", "\n "), ""])
    (tmp_path / "text" / "scan.pdf").write_bytes(b"%PDF")
    manifest = Store(harvest(cfg, tmp_path / "s", device="cpu")).manifest
    text = manifest.about["text"]
    counts = [text[f"{kind}_duplicates"] for kind in ("exact", "normalised", "near")]
    assert (text["documents"], *counts) == (14, 0, 1, None)
    splits = text["splits"].values()
    assert sum(split["documents"] for split in splits) == 13
    assert sum(split["short_documents"] for split in splits) == 3  # 7, 3 and no words
    words = " ".join(texts).split()
    assert sum(split["tokens"] for split in splits) == len(words)
    assert sum(split["special"] for split in splits) == words.count("<bos>") > 5
    assert sum(split["unknown"] for split in splits) == words.count("nothing") > 5
    for split in splits:
        inside = split["contexts"] * WORDS_A_CONTEXT
        assert split["tokens"] == split["special"] + split["short"] + split["tails"] + inside
    for name, rows in (("held_out", 20), ("train", 80)):
        split, per_context = text["splits"][name], WORDS_A_CONTEXT
        used = split["contexts"] - split["contexts_left"]
        assert used * per_context - split["rows_beyond"] == rows == manifest.rows(name)
    line = described(tmp_path / "s")
    assert "14 documents, duplicates dropped: 0 exact, 1 normalised, near ones not looked for" in line
    assert f"13 read, 3 too short ({sum(split['short'] for split in splits)} tokens)" in line
    assert f"{words.count('<bos>')} special tokens dropped" in line and "not read: 1 .pdf" in line
    assert f"{words.count('nothing')} of {len(words)} tokens unknown" in line


def test_special_tokens_leave_no_row_and_stay_where_they_are_asked_for(tmp_path):
    """53 of 540 tokens were BOS, kept and not counted."""
    (tmp_path / "a.txt").write_text(" ".join(f"{i} 0" for i in range(10, 40)))
    found, ids = documents(str(tmp_path), 0), frozenset({0, 1})
    dropped = contexts(found, lambda text: [*map(int, text.split())], 10, 3, 0, Special(ids))
    assert sorted(dropped.ids.ravel().tolist()) == list(range(10, 40)) and dropped.tally.special == 30
    kept = contexts(found, lambda text: [*map(int, text.split())], 10, 6, 0, Special(ids, dropped=False))
    assert (kept.ids == 0).sum() == kept.tally.special == 30 and kept.available == 6


def test_tokens_for_unknown_words_are_special_only_where_they_are_bos_too(lm, tmp_path):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(lm)
    assert special_tokens(tokenizer, "drop") == Special(frozenset({0}), 1, True)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<turn>"], "unk_token": "<bos>"})
    turn = tokenizer.convert_tokens_to_ids("<turn>")
    assert special_tokens(tokenizer, "keep") == Special(frozenset({0, 1, turn}), None, False)


def test_a_store_from_before_is_taken_as_it_is_and_says_so(cfg, tmp_path):
    write(tmp_path / "text", [sentence(i) for i in range(12)])
    old = dataclasses.replace(cfg, **BEFORE)
    out = harvest(old, tmp_path / "s", device="cpu")
    new = harvest(cfg, tmp_path / "new", device="cpu")
    assert Store(new).fingerprint == Store(out).fingerprint  # no duplicates in the text, no special tokens
    with pytest.raises(DataError, match="duplicates .'keep', now 'drop'."):
        harvest(cfg, out, device="cpu")
    values = json.loads((out / MANIFEST).read_text())
    for key in BEFORE:
        del values["config"][key]
    del values["about"]["text"]
    (out / MANIFEST).write_text(json.dumps(values))
    assert harvest(cfg, out, lambda *_: pytest.fail("harvested again"), "cpu") == out
    assert "duplicates and special tokens in it were kept and not counted" in described(out)
    assert harvest(old, out, device="cpu") == out
    near = dataclasses.replace(cfg, near_duplicates=0.8)
    with pytest.raises(DataError, match="near_duplicates .None, now 0.8."):
        harvest(near, out, device="cpu")


def test_settings_as_before_give_a_stream_its_old_fingerprint(cfg, tmp_path):
    """The settings are hashed as they were when there were none of these."""
    write(tmp_path / "text", [sentence(i) for i in range(12)])
    streaming = StreamingConfig(buffer_tokens=64, sample_tokens=64)
    old = Streaming(dataclasses.replace(cfg, **BEFORE), streaming)
    elsewhere = ("model", "gguf_file", "text", "format", "shard_rows")
    settings = {k: v for k, v in old.cfg.identity().items() if k not in (*elsewhere, *BEFORE)}
    text = fingerprint(documents(cfg.text, cfg.seed))
    data = ["streaming", 1, settings, dataclasses.asdict(streaming), text, ModelFiles(cfg.model).origin]
    assert old.fingerprint == hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:16]
    assert Streaming(cfg, streaming).fingerprint != old.fingerprint


def test_files_that_are_not_text_are_sentences_with_their_number(cfg, tmp_path):
    folder = write(tmp_path / "text", [sentence(i) for i in range(8)])
    (folder / "data.parquet").write_bytes(b"PAR1")
    assert other_files(str(folder)) == {".parquet": 1}
    (folder / "a.txt").write_bytes("utf-16".encode("utf-16-le"))
    with pytest.raises(DataError, match=r"a\.txt is not text: it holds NUL.*; convert or remove it\.$"):
        harvest(cfg, tmp_path / "s")
    (folder / "b.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=r"\.txt is not .* 2 of 10 \.txt files are not text\.$"):
        harvest(cfg, tmp_path / "s")
    for path in folder.glob("*.txt"):
        path.unlink()
    with pytest.raises(DataError, match=r"no \.txt file lies in .*, only 1 \.parquet; convert"):
        harvest(cfg, tmp_path / "s")


def test_the_command_line_shows_the_account(cfg, tmp_path, capsys):
    from sweeps.verbs.cli import main

    texts = [sentence(i) for i in range(12)]
    write(tmp_path / "text", [*texts, texts[3]])
    line = [*overrides(cfg), f"data.store={tmp_path / 's'}"]
    assert main(["harvest", *line]) == 0
    out = capsys.readouterr().out
    assert "13 documents, duplicates dropped: 1 exact, 0 normalised" in out and "0 special tokens" in out
