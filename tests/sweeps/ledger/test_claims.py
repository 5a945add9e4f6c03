"""One holder at a time, however many ask; a silent holder is followed, and knows it."""

import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from sweeps.ledger import claims
from sweeps.ledger.claims import Heartbeat, claim, held
from sweeps.ledger.run_folder import RunFolder


@pytest.fixture
def folder(tmp_path):
    return RunFolder(tmp_path)


def silence(folder):
    os.utime(max(folder.glob("claim-*")), (0, 0))


def test_only_one_of_many_gets_it(tmp_path, folder):
    for _ in range(20):
        with ThreadPoolExecutor(16) as pool:
            got = list(pool.map(lambda _: claim(folder, 60), range(32)))
        assert sum(c is not None for c in got) == 1
        silence(tmp_path)
    assert len(list(tmp_path.glob("claim-*"))) == 20


def test_a_silent_holder_is_followed_and_finds_out(tmp_path, folder):
    first = claim(folder, 60)
    assert first.touch() and held(folder)
    silence(tmp_path)
    second = claim(folder, 60)
    assert second is not None
    assert not first.touch() and second.touch()
    first.release()  # what is not ours any more cannot be released
    assert held(folder) and claim(folder, 60) is None


def test_released_is_free_at_once(folder):
    claim(folder, 60).release()
    assert not held(folder)
    assert claim(folder, 60) is not None


def test_a_holder_on_this_machine_that_is_dead_is_followed_at_once(tmp_path, folder):
    code = (
        "import sys; from pathlib import Path; from sweeps.ledger.claims import claim\n"
        "from sweeps.ledger.run_folder import RunFolder; claim(RunFolder(Path(sys.argv[1])), 60)"
    )
    child = subprocess.run([sys.executable, "-c", code, tmp_path])
    assert child.returncode == 0 and len(list(tmp_path.glob("claim-*"))) == 1
    assert not held(folder) and claim(folder, 60) is not None


def test_a_heartbeat_keeps_a_claim_and_does_not_revive_a_released_one(tmp_path, folder, monkeypatch):
    one = claim(folder, 60)
    beats, touch = threading.Semaphore(0), one.touch

    def counted():
        ours = touch()
        beats.release()
        return ours

    monkeypatch.setattr(one, "touch", counted)
    silence(tmp_path)
    beat = Heartbeat([one], 0.01)
    beat.start()
    assert beats.acquire(timeout=60) and held(folder)
    one.release()
    while beats.acquire(blocking=False):
        pass
    assert beats.acquire(timeout=60), "no beat after the release"
    assert not held(folder)
    beat.stop()


def test_two_that_looked_at_the_same_moment(monkeypatch, folder):
    monkeypatch.setattr(claims, "_newest", lambda _: None)  # both saw no claim
    assert claim(folder, 60) is not None
    assert claim(folder, 60) is None


def test_a_claim_that_cannot_be_written_holds_nothing(tmp_path, monkeypatch, folder):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(claims.os, "getpid", full)
    with pytest.raises(OSError):
        claim(folder, 60)
    monkeypatch.undo()
    assert list(tmp_path.iterdir()) == [] and claim(folder, 60) is not None


def test_a_claim_without_words_is_not_for_ever(tmp_path, folder):
    (tmp_path / "claim-000001").touch()
    assert held(folder)
    os.utime(tmp_path / "claim-000001", (time.time() - 90,) * 2)
    assert not held(folder)


def test_an_earlier_life_of_the_same_slurm_job_is_followed_at_once(monkeypatch, folder):
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setattr(claims.socket, "gethostname", lambda: "n1")
    claim(folder, 600)
    monkeypatch.setattr(claims.socket, "gethostname", lambda: "n2")
    assert claim(folder, 600) is None
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    second = claim(folder, 600)
    assert second is not None and second.follows_this_job
    monkeypatch.setenv("SLURM_JOB_ID", "8")
    assert claim(folder, 600) is None
    claims.revoke(folder, "8")
    assert held(folder)
    claims.revoke(folder, "7")
    assert not held(folder)
