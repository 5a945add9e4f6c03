"""The permutation is a bijection, looks random, differs between epochs and is cheap."""

import time

import numpy as np
import pytest

from sae_core.data.shuffle import permuted


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 17, 1000, 65537])
@pytest.mark.parametrize("epoch", [0, 1])
def test_is_a_bijection(n, epoch):
    image = permuted(np.arange(n), n, seed=3, epoch=epoch)
    assert image.dtype == np.int64
    assert np.array_equal(np.sort(image), np.arange(n))


def test_any_subset_in_any_shape_gives_the_same_image():
    n = 12_345
    whole = permuted(np.arange(n), n, seed=1, epoch=4)
    some = np.array([[7, 0], [12_344, 7]])
    assert np.array_equal(permuted(some, n, seed=1, epoch=4), whole[some])


def test_small_ranges_are_shuffled_too():
    orders = {tuple(permuted(np.arange(3), 3, seed=s, epoch=0)) for s in range(100)}
    assert len(orders) >= 3


def test_epochs_and_seeds_differ():
    n = 10_000
    first = permuted(np.arange(n), n, seed=0, epoch=0)
    for seed, epoch in [(0, 1), (1, 0), (0, -1)]:
        # Two independent permutations agree at Poisson(1) positions: 12 or more has probability 1e-9.
        assert (permuted(np.arange(n), n, seed=seed, epoch=epoch) == first).sum() < 12


@pytest.mark.parametrize("n", [65_536, 65_537, 400_001])
def test_looks_random(n):
    image = permuted(np.arange(n), n, seed=11, epoch=2)
    x = (np.arange(n) - (n - 1) / 2) / n
    y = (image - (n - 1) / 2) / n
    se = 1 / np.sqrt(n)
    assert abs(12 * (x * y).mean()) < 4 * se, "position and image are correlated"
    assert abs(12 * (y[1:] * y[:-1]).mean()) < 4 * se, "neighbours are correlated"
    assert _chi_square_z(image, n) < 4
    assert abs(_chi_square_z(np.diff(image) % n, n)) < 6, "steps between neighbours are not uniform"


def _chi_square_z(image, n, cells=32):
    """Standardised chi-square of the cells x cells table of (position, image) counts."""
    table = np.zeros((cells, cells))
    np.add.at(table, (np.arange(len(image)) * cells // n, image * cells // n), 1)
    expected = len(image) / cells**2
    freedom = (cells - 1) ** 2
    return (((table - expected) ** 2 / expected).sum() - freedom) / np.sqrt(2 * freedom)


def test_an_index_outside_is_refused():
    with pytest.raises(ValueError, match=r"leave the range \[0, 5\)"):
        permuted(np.array([5]), 5, seed=0, epoch=0)


def test_the_order_is_the_same_on_every_machine():
    expected = [106533, 15623, 21302, 498080, 480950, 468692, 103637, 396407]
    assert permuted(np.arange(8), 500_000, seed=0, epoch=0).tolist() == expected


def test_costs_less_than_a_millisecond_for_a_batch():
    index = np.arange(1024)
    best = min(_seconds(lambda: permuted(index, 500_000, seed=0, epoch=0)) for _ in range(20))
    assert best < 1e-3, f"{best * 1e3:.2f} ms for 1,024 of 500,000 indices"


def _seconds(call):
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin
