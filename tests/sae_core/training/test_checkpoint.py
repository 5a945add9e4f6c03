"""A checkpoint is whole or not there, and a torn one gives way to the one before."""

import pytest
import torch

from sae_core import files
from sae_core.errors import CheckpointError
from sae_core.training import checkpoint


def test_round_trip_keeps_two(tmp_path):
    for step in (1, 2, 3):
        checkpoint.save(
            tmp_path, step, {"a": torch.tensor([float(step)])}, {"step": step, "nan": float("nan")}
        )
    assert len(list(tmp_path.iterdir())) == 2
    tensors, meta = checkpoint.latest(tmp_path)
    assert meta["step"] == 3 and tensors["a"].item() == 3


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b"\xff" * len(b)])
def test_a_torn_file_gives_way_to_the_one_before(tmp_path, damage, capsys):
    checkpoint.save(tmp_path, 1, {"a": torch.ones(100)}, {"step": 1})
    newest = checkpoint.save(tmp_path, 2, {"a": torch.ones(100)}, {"step": 2})
    newest.write_bytes(damage(newest.read_bytes()))
    _, meta = checkpoint.latest(tmp_path)
    assert meta["step"] == 1
    assert "one before" in capsys.readouterr().out


def test_all_torn_is_a_sentence(tmp_path):
    path = checkpoint.save(tmp_path, 1, {"a": torch.ones(100)}, {})
    path.write_bytes(b"torn")
    with pytest.raises(CheckpointError, match="delete it"):
        checkpoint.latest(tmp_path)


def test_it_can_be_read_by_whom_other_files_can(tmp_path):
    path = checkpoint.save(tmp_path, 1, {"a": torch.ones(3)}, {})
    (tmp_path / "plain").touch()
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_none_is_none(tmp_path):
    assert checkpoint.latest(tmp_path / "absent") is None


def test_a_full_disk_leaves_the_old_one(tmp_path, monkeypatch):
    checkpoint.save(tmp_path, 1, {"a": torch.ones(3)}, {"step": 1})

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError):
        checkpoint.save(tmp_path, 2, {"a": torch.ones(3)}, {"step": 2})
    assert [p.name for p in tmp_path.iterdir()] == ["step-000000001.safetensors"]
