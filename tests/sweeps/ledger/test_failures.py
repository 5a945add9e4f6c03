"""Kinds of failures, and how often each is tried again."""

import pytest
import torch

from sae_core.errors import DataError
from sweeps.ledger.failures import KINDS, Failure, failures, forgive, kind_of, may_retry, note, words


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), "oom"),
        (MemoryError(), "oom"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried 4 TB"), "oom"),
        (RuntimeError("CUDA error: uncorrectable ECC error encountered"), "node"),
        (RuntimeError("CUDA error: unspecified launch failure"), "node"),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), "bug"),
        (OSError(28, "No space left on device"), "disk"),
        (DataError("the store is gone"), "data"),
        (KeyError("surprise"), "bug"),
    ],
)
def test_kind_of_an_error(error, kind):
    assert kind_of(error) == kind and kind in KINDS


def test_words_are_one_line_whatever_the_error():
    assert words("bug", KeyError("surprise")) == "KeyError: 'surprise'"
    assert words("bug", RuntimeError("first\nlast")) == "RuntimeError: last"
    assert words("data", DataError("the store is gone\nmore")) == "the store is gone"
    assert words("oom", MemoryError()) == KINDS["oom"]


def test_a_run_is_tried_again_as_often_as_its_kind_may(tmp_path):
    retries = {"oom": 2}
    assert may_retry(tmp_path, retries)
    for more in (True, True, False):
        note(tmp_path, Failure("oom", "no memory"))
        assert may_retry(tmp_path, retries) is more
    note(tmp_path, Failure("bug", "KeyError"))
    assert not may_retry(tmp_path, {"oom": 9})


def test_a_run_that_got_further_is_not_stuck(tmp_path):
    for saved in (0, 10, 20, 30):
        note(tmp_path, Failure("lost", "gone", saved))
        assert may_retry(tmp_path, {"lost": 1})
    note(tmp_path, Failure("lost", "gone", 30))
    assert not may_retry(tmp_path, {"lost": 1})


def test_retry_forgives_and_keeps_the_record(tmp_path):
    forgive(tmp_path)
    assert list(tmp_path.iterdir()) == []
    note(tmp_path, Failure("bug", "KeyError", host="n1", job="7_0"))
    assert not may_retry(tmp_path, {})
    forgive(tmp_path)
    assert may_retry(tmp_path, {}) and failures(tmp_path) == []
    (one,) = failures(tmp_path, since_retry=False)
    assert (one.kind, one.host, one.job) == ("bug", "n1", "7_0") and one.at


def test_a_torn_line_is_no_failure(tmp_path):
    note(tmp_path, Failure("disk", "full"))
    with open(tmp_path / "failures.jsonl", "a") as file:
        file.write('{"kind": "di')
    assert [one.kind for one in failures(tmp_path)] == ["disk"]
