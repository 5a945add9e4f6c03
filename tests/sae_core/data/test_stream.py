"""A stream gives the source's tokens whatever the batches, reads each chunk once, ahead of time, and lets go of it."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from sae_core.data.stream import Stream, shared_chunks
from sae_core.errors import DataError


class Counting:
    """Rows that are their own positions; counts the reads and the threads that read."""

    def __init__(self) -> None:
        self.reads: list[tuple[int, int]] = []
        self.threads: set[str] = set()

    def rows(self, start: int, size: int, seed: int) -> torch.Tensor:
        self.reads.append((start, size))
        self.threads.add(threading.current_thread().name)
        if start >= 1000:
            raise DataError("the shard is gone")
        return torch.arange(start, start + size, dtype=torch.float32)[:, None].expand(-1, 3) + 10_000 * seed


@pytest.fixture
def source():
    return Counting()


@pytest.fixture
def pool():
    with ThreadPoolExecutor(1, thread_name_prefix="reader") as threads:
        yield threads


def positions(x: torch.Tensor) -> list[int]:
    return x[:, 0].int().tolist()


def test_batches_of_several_chunks_share_what_is_read(source, pool):
    stream = Stream(source, 4, 0, pool, "cpu")
    assert positions(stream.batch(0, 8)) == list(range(8))
    for start in (0, 4, 8, 12):
        assert positions(stream.batch(start, 4)) == list(range(start, start + 4))
    assert positions(stream.batch(8, 8, ahead=False)) == list(range(8, 16))
    pool.submit(lambda: None).result()  # what was read ahead is read
    assert sorted(source.reads) == [(0, 4), (4, 4), (8, 4), (12, 4), (16, 4)]


def test_the_next_batch_is_read_meanwhile_by_one_other_thread(source, pool):
    stream = Stream(source, 4, 2, pool, "cpu")
    stream.batch(0, 4)
    pool.submit(lambda: None).result()  # the one thread is through with all that was asked of it
    assert source.reads == [(0, 4), (4, 4)] and source.threads == {"reader_0"}
    assert positions(stream.batch(4, 4)) == [20_004, 20_005, 20_006, 20_007]


def test_nothing_is_read_past_the_end_of_a_budget(source, pool):
    Stream(source, 4, 0, pool, "cpu").batch(0, 8, ahead=False)
    pool.submit(lambda: None).result()
    assert source.reads == [(0, 4), (4, 4)]


def test_what_is_forgotten_is_read_again_if_asked_for(source, pool):
    stream = Stream(source, 4, 0, pool, "cpu")
    stream.batch(0, 4, ahead=False)
    stream.forget(4)
    stream.batch(0, 4, ahead=False)
    assert source.reads == [(0, 4), (0, 4)]


def test_an_error_of_the_source_reaches_the_one_who_asked(source, pool):
    with pytest.raises(DataError, match="gone"):
        Stream(source, 4, 0, pool, "cpu").batch(1000, 4)


def test_a_batch_is_read_in_the_smallest_of_the_pack_that_divides_it():
    assert shared_chunks([64, 128, 96, 32, 48, 64]) == {32: 32, 48: 48, 64: 32, 96: 32, 128: 32}
    assert shared_chunks([100, 101]) == {100: 100, 101: 101}
