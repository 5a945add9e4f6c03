"""Run folders: whole files, torn lines, missing numbers."""

import math
from dataclasses import replace

import pytest

from sae_core import files
from sweeps.errors import SweepError
from sweeps.ledger.run_folder import RunFolder, Status, Study, dumps, open_study

CONFIG = {"run_id": "abc", "study": "s", "data": {"store": "here"}, "run": {"lr": 1e-4}}


@pytest.fixture
def folder(tmp_path) -> RunFolder:
    made = RunFolder(tmp_path / "study" / "abc")
    made.create(CONFIG)
    return made


def test_created_again_only_where_it_differs(folder):
    path = folder.path / "config.yaml"
    before = path.stat().st_mtime_ns
    folder.create(CONFIG)
    assert path.stat().st_mtime_ns == before and folder.config() == CONFIG
    folder.create(CONFIG | {"data": {"store": "moved"}})
    assert folder.config()["data"] == {"store": "moved"}


def test_status_is_pending_until_written(folder):
    assert folder.status() == Status("pending")
    folder.set_status(Status("failed", 7, "oom", "out of memory"))
    assert replace(folder.status(), updated=0.0) == Status("failed", 7, "oom", "out of memory")
    assert folder.status().updated > 1.7e9
    (folder.path / "status").write_text('{"state": "do')
    assert folder.status().state == "unreadable"


def test_a_torn_last_line_is_not_a_row(folder):
    for tokens in (1, 2, 3):
        folder.append_row({"tokens": tokens})
    text = folder.curve_path.read_text()
    folder.curve_path.write_text(text[:-5])
    assert [row["tokens"] for row in folder.curve()] == [1, 2]
    folder.rewind(folder.curve()[:1])
    folder.append_row({"tokens": 9})
    assert [row["tokens"] for row in folder.curve()] == [1, 9]


def test_what_is_not_finite_is_missing():
    assert dumps({"a": math.nan, "b": [math.inf, 1.0]}) == '{"a": null, "b": [null, 1.0]}'


def test_a_write_that_fails_leaves_the_old_file(folder, monkeypatch):
    folder.set_status(Status("running", 5))

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "replace", full)
    with pytest.raises(OSError):
        folder.set_status(Status("done", 10))
    monkeypatch.undo()
    assert folder.status().tokens == 5
    assert not list(folder.path.glob(".*tmp"))


def test_a_study_that_is_not_there_names_those_that_are(folder, tmp_path):
    assert [f.run_id for f in Study(tmp_path / "study").runs()] == ["abc"]
    with pytest.raises(SweepError, match="There are: study"):
        open_study(tmp_path / "stduy")


def test_yaml_that_would_run_code_is_not_read(folder):
    (folder.path / "config.yaml").write_text("!!python/object/apply:os.system ['true']")
    with pytest.raises(SweepError, match="could not determine a constructor"):
        folder.config()


def test_a_status_is_told_on_a_full_disk_too(tmp_path, monkeypatch):
    """A new file has no room; the old one's block is there."""
    folder = RunFolder(tmp_path)
    folder.set_status(Status("running", 512, message="a longer message than the next one, to the end"))

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("sweeps.ledger.run_folder.write_text", full)
    folder.set_status(Status("failed", 512, "disk", "full"))
    assert (folder.status().state, folder.status().failure, folder.status().message) == (
        "failed",
        "disk",
        "full",
    )
    with pytest.raises(OSError):
        RunFolder(tmp_path / "new").set_status(Status("pending"))
