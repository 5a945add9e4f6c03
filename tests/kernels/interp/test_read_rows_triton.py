"""The kernel that measures the ceiling of the gathers, by the interpreter: it reads the rows that its hash names."""

import pytest
import torch

pytest.importorskip("triton")

from benchmarks.kernels.read_rows import TILES, launch
from tests.kernels.interp.sanitizer import ORDERS, sanitize, why_not

if why_not():
    pytest.skip(why_not(), allow_module_level=True)
pytestmark = pytest.mark.interp


def hashed(b: int, j: int, k: int, n: int) -> int:
    seed = (b * k + j) * 2654435761 % 2**32
    return ((seed ^ (seed >> 15)) >> 1) % n


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("tile", TILES)
@pytest.mark.parametrize(("B", "k", "n", "d"), [(3, 9, 7, 140), (2, 4, 1, 5), (4, 1, 50, 513)])
def test_sums_the_rows_of_the_hash(B, k, n, d, tile, order):
    W, out = torch.randn(n, d), torch.full((B, d), torch.nan)
    with sanitize(order) as errors:
        launch(out, W, k, tile)
    assert not errors, errors
    expected = torch.stack([sum(W[hashed(b, j, k, n)] for j in range(k)) for b in range(B)])
    torch.testing.assert_close(out, expected)


def test_rows_are_spread_over_the_table():
    rows = {hashed(b, j, 32, 4096) for b in range(512) for j in range(32)}
    assert len(rows) > 0.95 * 4096 * (1 - 2.718281828**-4)
