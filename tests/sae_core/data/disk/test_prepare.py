"""Preparation: mean off, unit norm, and rows without a direction."""

import torch

from sae_core.data.disk.prepare import mean_off_unit_norm


def test_rows_have_zero_mean_and_unit_norm():
    x = 5 + 100 * torch.randn(64, 33, generator=torch.Generator().manual_seed(0))
    y, kept = mean_off_unit_norm(x)
    assert kept.all() and y.dtype == torch.float32
    torch.testing.assert_close(y.norm(dim=1), torch.ones(64))
    torch.testing.assert_close(y.mean(dim=1), torch.zeros(64), atol=1e-7, rtol=0)


def test_scale_and_offset_of_a_row_do_not_matter():
    x = torch.randn(8, 16, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(
        mean_off_unit_norm(3 * x + 2)[0], mean_off_unit_norm(x)[0], atol=1e-6, rtol=1e-5
    )


def test_constant_rows_are_not_kept():
    x = torch.randn(4, 577, generator=torch.Generator().manual_seed(2))
    x[1], x[3] = 0.0, 0.1
    y, kept = mean_off_unit_norm(x)
    assert kept.tolist() == [True, False, True, False]
    assert y.shape == (2, 577) and torch.isfinite(y).all()
