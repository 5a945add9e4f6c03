"""Kinds of failures, and how often each is tried again."""

import pytest
import torch

from fit.data.columns import RUNS
from sae_core.errors import DataError
from sweeps.ledger.failures import (
    KINDS,
    RETRIES,
    Failure,
    failures,
    kind_of,
    may_retry,
    message_of,
    record,
    reset,
)
from sweeps.ledger.run_folder import RunFolder


@pytest.fixture
def folder(tmp_path):
    return RunFolder(tmp_path)


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
    assert message_of("bug", KeyError("surprise")) == "KeyError: 'surprise'"
    assert message_of("bug", RuntimeError("first\nlast")) == "RuntimeError: last"
    assert message_of("data", DataError("the store is gone\nmore")) == "the store is gone"
    assert message_of("oom", MemoryError()) == KINDS["oom"]


def test_a_run_is_tried_again_as_often_as_its_kind_may(folder):
    retries = {"oom": 2}
    assert may_retry(folder, retries)
    for more in (True, True, False):
        record(folder, Failure("oom", "no memory"))
        assert may_retry(folder, retries) is more
    record(folder, Failure("bug", "KeyError"))
    assert not may_retry(folder, {"oom": 9})


def test_a_run_that_got_further_is_not_stuck(folder):
    for saved in (0, 10, 20, 30):
        record(folder, Failure("lost", "gone", saved))
        assert may_retry(folder, {"lost": 1})
    record(folder, Failure("lost", "gone", 30))
    assert not may_retry(folder, {"lost": 1})


def test_retry_resets_and_keeps_the_record(tmp_path, folder):
    reset(folder)
    assert list(tmp_path.iterdir()) == []
    record(folder, Failure("bug", "KeyError", host="n1", job="7_0"))
    assert not may_retry(folder, {})
    reset(folder)
    assert may_retry(folder, {}) and failures(folder) == []
    (one,) = failures(folder, since_retry=False)
    assert (one.kind, one.host, one.job) == ("bug", "n1", "7_0") and one.at


def test_a_torn_line_is_no_failure(tmp_path, folder):
    record(folder, Failure("disk", "full"))
    with open(tmp_path / "failures.jsonl", "a") as file:
        file.write('{"kind": "di')
    assert [one.kind for one in failures(folder)] == ["disk"]


def test_every_kind_has_its_retries_and_is_in_the_table_of_columns():
    assert RETRIES.keys() == KINDS.keys()
    (column,) = (one for one in RUNS if one.name == "failure")
    assert all(f"`{kind}`" in column.meaning for kind in KINDS)
