"""A store gives back what was written, in an order that depends on the place and the seed only, and tells of damage."""

import json
import os
import shutil
import time

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from sae_core.data.disk import manifest
from sae_core.data.disk import store as store_module
from sae_core.data.disk.import_array import from_array
from sae_core.data.disk.manifest import CHECKED, MANIFEST, UNFINISHED
from sae_core.data.disk.prepare import mean_off_unit_norm
from sae_core.data.disk.shards import sha256_of, shard_name
from sae_core.data.disk.store import Store
from sae_core.data.disk.store_writer import StoreWriter
from sae_core.errors import DataError

D, TRAIN, HELD_OUT = 12, 1003, 97
CONFIG = {"origin": "test"}


def activations(rows=TRAIN + HELD_OUT, d=D, seed=0):
    return torch.randn(rows, d, generator=torch.Generator().manual_seed(seed)) * torch.arange(1, d + 1)


@pytest.fixture
def store(tmp_path):
    return from_array(activations(), tmp_path / "store", HELD_OUT, dtype="float32", shard_rows=250)


def writer_of_two(out, **options):
    """An unfinished store: the held-out shard and the first of two training shards."""
    writer = StoreWriter(out, D, CONFIG, **options)
    writer.write("held_out", 0, activations(50, seed=1))
    writer.write("train", 0, activations(100, seed=2))
    return writer


def test_one_epoch_is_every_training_row_once(store):
    opened = Store(store)
    assert (opened.d_model, opened.n_train, opened.n_held_out) == (D, TRAIN, HELD_OUT)
    epoch = opened.rows(0, TRAIN, seed=5)
    assert epoch.dtype == torch.float32 and not torch.equal(epoch, activations()[:TRAIN])
    assert sorted(epoch[:, 0].tolist()) == sorted(activations()[:TRAIN, 0].tolist())
    assert torch.equal(opened.held_out(), activations()[TRAIN:])


@pytest.mark.parametrize("size", [1, 64, 333])
def test_batches_of_any_size_are_the_same_stream(store, size):
    opened = Store(store)
    length = 2 * TRAIN + 50  # across two ends of an epoch
    stream = torch.cat([opened.rows(a, min(size, length - a), seed=1) for a in range(0, length, size)])
    assert torch.equal(stream, Store(store).rows(0, length, seed=1))


def test_epochs_and_seeds_have_different_orders(store):
    opened = Store(store)
    first, second = opened.rows(0, TRAIN, seed=0), opened.rows(TRAIN, TRAIN, seed=0)
    assert not torch.equal(first, second)
    assert not torch.equal(first, opened.rows(0, TRAIN, seed=1))


def test_sample_is_fixed_and_of_training_rows(store):
    opened = Store(store)
    sample = opened.sample(100)
    assert torch.equal(sample, Store(store).sample(100))
    assert set(sample[:, 0].tolist()) <= set(activations()[:TRAIN, 0].tolist())
    assert opened.sample(10 * TRAIN).shape == (TRAIN, D)
    assert opened.oracle(8) is None


@pytest.mark.parametrize("prepare", ["none", "mean_off_unit_norm"])
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_mean_and_denominator_are_of_the_stored_rows(tmp_path, prepare, dtype):
    x = activations()
    opened = Store(from_array(x, tmp_path / "s", HELD_OUT, prepare, dtype, shard_rows=200))
    stored = (mean_off_unit_norm(x)[0] if prepare != "none" else x).to(getattr(torch, dtype)).double()
    mean = stored[:TRAIN].mean(dim=0)
    np.testing.assert_allclose(opened.manifest.mean, mean.numpy(), rtol=1e-12, atol=1e-15)
    assert opened.denominator == pytest.approx(
        ((stored[TRAIN:] - mean) ** 2).sum(dim=1).mean().item(), rel=1e-12
    )


def test_norms_are_those_before_preparation(tmp_path):
    x = activations()
    opened = Store(from_array(x, tmp_path / "s", HELD_OUT, "mean_off_unit_norm"))
    norms = x[:TRAIN].norm(dim=1)
    quantiles = opened.manifest.norms["quantiles"]
    assert quantiles["1.0"] == pytest.approx(norms.max().item(), rel=1e-6)
    assert quantiles["0.5"] == pytest.approx(norms.double().median().item(), rel=1e-6)


def test_constant_rows_are_dropped_and_counted(tmp_path):
    x = activations()
    x[3], x[700] = 0.0, 2.0
    opened = Store(from_array(x, tmp_path / "s", HELD_OUT, "mean_off_unit_norm"))
    assert opened.n_train == TRAIN - 2
    assert opened.manifest.dropped["constant_rows"] == 2


def test_fingerprint_is_of_the_data_not_of_the_place(tmp_path):
    x = activations()
    one = Store(from_array(x, tmp_path / "a", HELD_OUT))
    two = Store(from_array(x, tmp_path / "b", HELD_OUT))
    assert one.fingerprint == two.fingerprint
    x[0, 0] += 1
    assert Store(from_array(x, tmp_path / "c", HELD_OUT)).fingerprint != one.fingerprint


@pytest.mark.parametrize("kind", ["npy", "safetensors", "ndarray"])
def test_arrays_of_every_kind_are_imported(tmp_path, store, kind):
    x = activations()
    source = tmp_path / f"x.{kind}"
    if kind == "npy":
        np.save(source, x.numpy())
    elif kind == "safetensors":
        save_file({"acts": x}, source)
    imported = from_array(
        x.numpy() if kind == "ndarray" else source, tmp_path / "s", HELD_OUT, dtype="float32"
    )
    assert torch.equal(Store(imported).held_out(), Store(store).held_out())


def test_importing_again_changes_nothing_and_other_settings_are_refused(store):
    before = (store / MANIFEST).stat().st_mtime_ns
    assert from_array(activations(), store, HELD_OUT, dtype="float32", shard_rows=250) == store
    assert (store / MANIFEST).stat().st_mtime_ns == before
    with pytest.raises(DataError, match=r"other settings: held_out \(97, now 90\)"):
        from_array(activations(), store, 90, dtype="float32", shard_rows=250)


@pytest.mark.parametrize(
    ("array", "held_out", "says"),
    [
        (activations().flatten(), 5, "must be \\(rows, d\\)"),
        (activations(), TRAIN + HELD_OUT, "leave training rows"),
        (activations(), 0, "above 0"),
    ],
)
def test_arrays_that_are_no_store_are_refused(tmp_path, array, held_out, says):
    with pytest.raises(DataError, match=says):
        from_array(array, tmp_path / "s", held_out)
    assert not (tmp_path / "s").exists()


def test_pickled_arrays_are_not_loaded(tmp_path):
    np.save(tmp_path / "x.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="is not a .npy file of numbers"):
        from_array(tmp_path / "x.npy", tmp_path / "s", 1)


# --- writing


def test_an_unfinished_store_is_told_from_a_missing_one(tmp_path):
    with pytest.raises(DataError, match="no such folder"):
        Store(tmp_path / "none")
    writer_of_two(tmp_path / "s")
    with pytest.raises(DataError, match="is unfinished"):
        Store(tmp_path / "s")


def test_a_killed_writer_is_continued_with_the_same_bytes(tmp_path):
    whole = writer_of_two(tmp_path / "whole")
    whole.write("train", 1, activations(60, seed=3))
    whole.finish({})
    writer_of_two(tmp_path / "killed")
    torn = tmp_path / "killed" / shard_name("train", 1)
    complete = (tmp_path / "whole" / torn.name).read_bytes()
    torn.write_bytes(complete[:-100])

    again = StoreWriter(tmp_path / "killed", D, CONFIG)
    assert [again.has("held_out", 0), again.has("train", 0), again.has("train", 1)] == [True, True, False]
    again.write("train", 1, activations(60, seed=3))
    again.finish({})
    assert torn.read_bytes() == complete
    assert Store(tmp_path / "killed").fingerprint == Store(tmp_path / "whole").fingerprint
    assert not (tmp_path / "killed" / UNFINISHED).exists()


def test_a_torn_shard_does_not_become_part_of_a_store(tmp_path):
    writer = writer_of_two(tmp_path / "s")
    path = tmp_path / "s" / shard_name("train", 0)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match="truncated"):
        writer.finish({})
    assert not (tmp_path / "s" / MANIFEST).exists()


def test_another_config_does_not_continue_a_store(tmp_path):
    writer_of_two(tmp_path / "s")
    with pytest.raises(DataError, match=r"origin \('test', now 'other'\)"):
        StoreWriter(tmp_path / "s", D, {"origin": "other"})
    with pytest.raises(DataError, match=r"d_model \(12, now 13\)"):
        StoreWriter(tmp_path / "s", D + 1, CONFIG)


def test_a_store_needs_both_splits_and_no_gap(tmp_path):
    writer = StoreWriter(tmp_path / "s", D, CONFIG)
    writer.write("train", 1, activations(10))
    with pytest.raises(DataError, match="train-00000.safetensors .* is missing"):
        writer.finish({})
    writer.write("train", 0, activations(10))
    with pytest.raises(DataError, match="no held_out shard"):
        writer.finish({})


def test_bad_rows_are_not_written(tmp_path):
    writer = StoreWriter(tmp_path / "s", D, CONFIG)
    x = activations(20_000)
    x[9_000, 3] = float("nan")
    with pytest.raises(DataError, match="the first in row 9,000, contain NaN"):
        writer.write("train", 0, x)
    with pytest.raises(DataError, match="overflow float16"):
        writer.write("train", 0, torch.full((2, D), 1e5))
    with pytest.raises(DataError, match=r"shape \(4, 13\)"):
        writer.write("train", 0, activations(4, d=D + 1))
    with pytest.raises(DataError, match="prepare is 'ln'"):
        StoreWriter(tmp_path / "t", D, CONFIG, prepare="ln")
    assert [path.name for path in (tmp_path / "s").iterdir()] == [UNFINISHED]


# --- damage


def test_a_missing_shard_is_named(store):
    (store / "train-00002.safetensors").unlink()
    with pytest.raises(DataError, match="train-00002.safetensors .* is missing"):
        Store(store)


def test_a_truncated_shard_is_named(store):
    path = store / "train-00001.safetensors"
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(DataError, match="train-00001.safetensors .* is truncated"):
        Store(store)


def test_a_flipped_byte_is_found_by_verify(store):
    Store(store).verify()
    path = store / "held_out-00000.safetensors"
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match="held_out-00000.safetensors .* checksum"):
        Store(store).verify()


def flip(path, times=None):
    """Change one bit of a row in place; times: set the file's back to these afterwards, as a careful culprit would."""
    with open(path, "r+b") as file:
        file.seek(-3, 2)
        byte = file.read(1)[0]
        file.seek(-3, 2)
        file.write(bytes([byte ^ 1]))
    if times:
        os.utime(path, ns=times)


@pytest.mark.parametrize("hidden", [False, True])
@pytest.mark.parametrize("split", ["train", "held_out"])
def test_changed_bytes_are_refused_before_a_row_of_their_shard_is_read(store, split, hidden):
    path = store / f"{split}-00000.safetensors"
    flip(path, (path.stat().st_atime_ns, path.stat().st_mtime_ns) if hidden else None)
    opened = Store(store)
    says = f"{path.name} of the store .* has changed since it was written: its checksum"
    if split == "train":
        opened.held_out()
        for read in (lambda: opened.rows(0, 1003, 0), lambda: opened.sample(1003)):
            with pytest.raises(DataError, match=says):
                read()
    else:
        opened.rows(0, 100, 0)
        with pytest.raises(DataError, match=says):
            opened.held_out()


@pytest.fixture
def settled_store(store, monkeypatch):
    """A store whose files count as old, and which was read once: the times of its shards are noted."""
    monkeypatch.setattr(manifest, "_SETTLED_S", -1.0)
    opened = Store(store)
    opened.rows(0, TRAIN, 0), opened.held_out()
    assert set(json.loads((store / CHECKED).read_text())) == {shard.file for shard in opened.manifest.shards}
    return store


def test_changed_bytes_are_refused_when_the_store_is_opened_once_its_times_are_known(settled_store):
    path = settled_store / "train-00003.safetensors"
    time.sleep(0.02)  # more than the step of the file's times
    flip(path, (path.stat().st_atime_ns, path.stat().st_mtime_ns))
    with pytest.raises(DataError, match="train-00003.safetensors .* has changed"):
        Store(settled_store)


def test_a_copied_store_has_other_times_and_is_read(settled_store, tmp_path, monkeypatch):
    copied = tmp_path / "copied"
    shutil.copytree(settled_store, copied)
    read = []
    monkeypatch.setattr(store_module, "sha256_of", lambda path: read.append(path.name) or sha256_of(path))
    assert torch.equal(Store(copied).rows(0, 50, 0), Store(settled_store).rows(0, 50, 0))
    assert len(read) == len(set(read)) == 6  # each shard of the copy once, those of the original not again
    Store(copied).rows(0, 50, 0)
    assert len(read) == 6


def test_a_store_that_cannot_be_written_to_is_read(store, monkeypatch):
    def read_only(*_):
        raise PermissionError("read-only file system")

    monkeypatch.setattr(manifest, "write_json", read_only)
    assert Store(store).rows(0, 10, 0).shape == (10, D)


def test_only_the_shards_that_are_read_are_compared(store, monkeypatch):
    read = []
    monkeypatch.setattr(store_module, "sha256_of", lambda path: read.append(path.name) or sha256_of(path))
    opened = Store(store)
    assert not read
    opened.held_out(), opened.held_out()
    assert read == ["held_out-00000.safetensors"]
    for start in range(0, TRAIN, 100):
        opened.rows(start, 100, 0)
    assert len(read) == len(set(read)) == 6


def test_a_shard_of_another_width_is_found(store):
    path = store / "held_out-00000.safetensors"
    length = path.stat().st_size
    save_file({"x": torch.zeros(HELD_OUT, D - 1), "norm": torch.zeros(HELD_OUT)}, path)
    path.write_bytes(path.read_bytes() + bytes(length - path.stat().st_size))
    with pytest.raises(DataError, match=r"holds float32 \(97, 11\), the manifest says float32 \(97, 12\)"):
        Store(store)


def test_asking_for_another_width_or_more_rows_is_refused(store):
    with pytest.raises(DataError, match="d_model = 12, and 768 was asked for"):
        Store(store, d_model=768)
    with pytest.raises(DataError, match="97 held-out rows, fewer than the 98 asked for"):
        Store(store).held_out(98)
    assert Store(store).held_out(10).shape == (10, D)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"version": 2}, "is not a manifest that this version reads"),
        ({"denominator": None, "mean": None}, "lacks or misspells"),
        ({"shards": []}, "0 training and 0 held-out rows"),
    ],
)
def test_a_manifest_that_was_edited_is_refused(store, change, says):
    values = json.loads((store / MANIFEST).read_text()) | change
    (store / MANIFEST).write_text(json.dumps(values))
    with pytest.raises(DataError, match=says):
        Store(store)


def test_a_manifest_cannot_name_files_elsewhere(store):
    text = (store / MANIFEST).read_text()
    (store / MANIFEST).write_text(text.replace('"train-00000', '"../train-00000'))
    with pytest.raises(DataError, match="outside its folder"):
        Store(store)
