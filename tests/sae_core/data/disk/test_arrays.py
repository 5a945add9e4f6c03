"""Activations that a user has: any file or folder of them becomes a store of the same rows."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from sae_core.data.disk.arrays import opened
from sae_core.data.disk.import_array import from_array
from sae_core.data.disk.store import Store
from sae_core.errors import DataError
from sweeps.config.data import open_source
from sweeps.verbs.cli import main

D, ROWS, HELD_OUT = 12, 500, 60


def activations(rows=ROWS, d=D):
    return torch.randn(rows, d, generator=torch.Generator().manual_seed(0)) * torch.arange(1, d + 1)


@pytest.fixture
def folder(tmp_path):
    """The rows in four files of three kinds, one of them empty."""
    x, out = activations(), tmp_path / "acts"
    out.mkdir()
    np.save(out / "a.npy", x[:100].numpy())
    np.save(out / "b.npy", x[:0].numpy())
    save_file({"x": x[100:333].contiguous(), "ids": torch.arange(3)}, out / "c.safetensors")
    np.save(out / "d.npy", x[333:].numpy().astype(np.float64))
    (out / "readme.txt").write_text("not an array")
    return out


@pytest.mark.parametrize("span", [(0, 500), (0, 1), (99, 101), (100, 333), (332, 334), (50, 450), (499, 500)])
def test_a_folder_is_read_as_one_array(folder, span):
    array = opened(folder)
    assert array.shape == (ROWS, D)
    assert torch.equal(array.rows(*span), activations()[slice(*span)])


@pytest.mark.parametrize("format", ["safetensors", "npy"])
def test_shards_of_both_formats_hold_the_same_rows(folder, tmp_path, format):
    out = from_array(folder, tmp_path / "s", HELD_OUT, dtype="float32", shard_rows=130, format=format)
    assert {p.suffix for p in out.glob("*-0000?.*") if ".norms" not in p.name} == {f".{format}"}
    store = Store(out)
    assert torch.equal(store.held_out(), activations()[-HELD_OUT:])
    expected = sorted(activations()[:-HELD_OUT, 0].tolist())
    assert sorted(store.rows(0, ROWS - HELD_OUT, 0)[:, 0].tolist()) == expected
    norms = activations()[:-HELD_OUT].double().norm(dim=1)
    assert store.manifest.norms["mean"] == pytest.approx(norms.mean().item(), rel=1e-6)
    assert store.manifest.norms["std"] == pytest.approx(norms.std(correction=0).item(), rel=1e-6)


def test_damage_to_a_raw_shard_is_named(folder, tmp_path):
    out = from_array(folder, tmp_path / "s", HELD_OUT, format="npy", shard_rows=130)
    shard = out / "train-00001.npy"
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(DataError, match=r"train-00001\.npy .* checksum"):
        Store(out).verify()
    shard.write_bytes(whole[:-8])
    with pytest.raises(DataError, match=r"train-00001\.npy .* truncated"):
        Store(out)
    shard.unlink()
    with pytest.raises(DataError, match=r"train-00001\.npy .* is missing"):
        Store(out)


def test_a_torn_raw_shard_is_written_again(folder, tmp_path):
    whole = from_array(folder, tmp_path / "whole", HELD_OUT, format="npy", shard_rows=130)
    out = from_array(folder, tmp_path / "s", HELD_OUT, format="npy", shard_rows=130)
    (out / "manifest.json").unlink()
    torn = out / "train-00002.npy"
    torn.write_bytes(torn.read_bytes()[:-8])
    again = from_array(folder, out, HELD_OUT, format="npy", shard_rows=130)
    assert torn.read_bytes() == (whole / torn.name).read_bytes()
    assert Store(again).fingerprint == Store(whole).fingerprint


def test_rows_of_a_huge_norm_are_dropped_and_counted(tmp_path):
    x = activations()
    x[[3, 7, 480]] *= 1000
    out = from_array(x, tmp_path / "s", HELD_OUT, dtype="float32", drop_above=20.0)
    store = Store(out)
    assert (store.n_train, store.n_held_out) == (ROWS - HELD_OUT - 2, HELD_OUT - 1)
    assert store.manifest.dropped["rows_above_norm_limit"] == 3
    assert store.manifest.norms["quantiles"]["1.0"] <= store.manifest.dropped["norm_limit"]


def test_nan_is_found_by_its_row_in_the_whole(tmp_path):
    x = activations()
    x[333, 4] = float("nan")
    with pytest.raises(DataError, match="the first in row 333, contain NaN"):
        from_array(x, tmp_path / "s", HELD_OUT, shard_rows=100)


def test_files_that_are_no_activations_are_refused(folder, tmp_path):
    np.save(folder / "e.npy", np.zeros((4, D + 1), np.float32))
    with pytest.raises(DataError, match=r"several widths: 12 in a.npy and 13 in e.npy"):
        opened(folder)
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match="holds no .npy or .safetensors file"):
        opened(tmp_path / "none")
    np.save(tmp_path / "c.npy", np.zeros((4, 2), np.complex64))
    with pytest.raises(DataError, match="its dtype is complex64"):
        opened(tmp_path / "c.npy")
    np.save(tmp_path / "empty.npy", np.zeros((0, D), np.float32))
    with pytest.raises(DataError, match="held_out is 5 of 0 rows"):
        from_array(tmp_path / "empty.npy", tmp_path / "s", 5)
    save_file({"a": torch.zeros(2, 2), "b": torch.zeros(2, 2)}, tmp_path / "two.safetensors")
    with pytest.raises(DataError, match="name the activations `x`"):
        opened(tmp_path / "two.safetensors")


def test_the_command_line_imports_verifies_and_plans(folder, tmp_path, capsys):
    store = tmp_path / "store"
    data = [
        "data=array",
        f"data.array.path={folder}",
        f"data.store={store}",
        f"data.array.held_out={HELD_OUT}",
    ]
    assert main(["harvest", *data, "data.array.shard_rows=130"]) == 0
    assert (
        "440 training and 60 held-out rows of width 12, float16; dropped: nothing" in capsys.readouterr().out
    )
    assert main(["harvest", *data, "data.array.shard_rows=130"]) == 0  # nothing to do
    assert main(["harvest", "--verify", "data=store", f"data.store={store}"]) == 0
    sae = ["sae.n_latents=16", "sae.k=2", "train.lr=1e-3", "train.batch_tokens=32", "train.max_tokens=640"]
    assert main(["plan", *data, *sae, f"runs={tmp_path}"]) == 0
    capsys.readouterr()

    wrong_width = ["data=store", f"data.store={store}", "data.d_model=768"]
    for command in (["harvest", "--verify"], ["plan", *sae, f"runs={tmp_path}"]):
        assert main([*command, *wrong_width]) == 1
        err = capsys.readouterr().err
        assert "12" in err and "768" in err and err.count("\n") == 1
    shard = store / "train-00000.safetensors"
    shard.write_bytes(shard.read_bytes()[:-1] + b"\x7f")
    assert main(["harvest", "--verify", "data=store", f"data.store={store}"]) == 1
    err = capsys.readouterr().err
    assert "train-00000.safetensors" in err and "checksum" in err and err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["data=array", "data.array.path=gone.npy", "data.store=s"], "there is no array gone.npy"),
        (["data=array", "data.array.path=gone.npy"], "names no store"),
        (["data=array", "data.store=s"], "data.array.path"),
        (["data=smollm2", "data.harvest.seed=0,1"], "not of data.harvest.seed"),
        (["data=streaming"], "names no store"),
        (["--verify", "data=store", "data.store=gone"], "gone"),
    ],
)
def test_what_harvest_cannot_do_is_one_sentence(arguments, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["harvest", *arguments]) == 1
    err = capsys.readouterr().err
    assert says in err and err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_two_sources_at_once_are_refused(tmp_path):
    with pytest.raises(ValueError, match="is synthetic, and data.store = here is given too"):
        open_source({"name": "x", "synthetic": {"d_model": 8}, "store": "here"})
