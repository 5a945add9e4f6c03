"""What is not activations is refused, and rows that look wrong are told with their number."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from sae_core.data.disk import row_checks as checking
from sae_core.data.disk.import_array import from_array
from sae_core.data.disk.manifest import MANIFEST
from sae_core.data.disk.store import Store
from sae_core.errors import DataError
from sweeps.dispatch.harvest import described
from sweeps.dispatch.inspection import inspect
from sweeps.verbs.cli import main

D, ROWS, HELD_OUT = 12, 500, 60


def activations(rows=ROWS, d=D):
    return torch.randn(rows, d, generator=torch.Generator().manual_seed(0)) * torch.arange(1, d + 1)


@pytest.mark.parametrize("kind", ["tensor", "numpy", "npy", "safetensors", "folder"])
def test_bfloat16_that_is_viewed_as_integers_is_refused(kind, tmp_path):
    """It was accepted, with a mean norm of 92,703."""
    x = activations().bfloat16().view(torch.int16)
    path = tmp_path / f"acts.{kind}"
    source = {"tensor": x, "numpy": x.numpy()}.get(kind, path)
    if kind == "npy":
        np.save(path, x.numpy())
    elif kind == "safetensors":
        save_file({"x": x}, path)
    elif kind == "folder":
        path.mkdir()
        np.save(path / "a.npy", activations().numpy())
        np.save(path / "b.npy", x.numpy().view(np.uint16))
    with pytest.raises(DataError, match=r"holds u?[iI](nt)?16; integers are no activations, and bfloat16"):
        from_array(source, tmp_path / "s", HELD_OUT)
    assert Store(from_array(source, tmp_path / "s", HELD_OUT, integers=True)).n_train > 0


def test_other_kinds_are_refused_whatever_is_asked(tmp_path):
    for array in (np.zeros((9, 2), bool), np.zeros((9, 2), np.complex64), np.full((9, 2), "a", object)):
        with pytest.raises(DataError, match="activations are real numbers"):
            from_array(array, tmp_path / "s", 2, integers=True)
    for tensor in (torch.zeros(9, 2, dtype=torch.bool), torch.zeros(9, 2, dtype=torch.complex64)):
        with pytest.raises(DataError, match="activations are real numbers"):
            from_array(tensor, tmp_path / "s", 2, integers=True)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_real_numbers_of_any_width_are_read(dtype, tmp_path):
    save_file({"x": activations().to(dtype)}, tmp_path / "a.safetensors")
    out = from_array(tmp_path / "a.safetensors", tmp_path / "s", HELD_OUT, dtype="float32")
    assert torch.equal(Store(out).held_out(), activations().to(dtype)[-HELD_OUT:].float())


@pytest.mark.parametrize("prepare", ["none", "mean_off_unit_norm"])
def test_what_looks_wrong_in_rows_is_counted_and_told(prepare, tmp_path):
    x = activations()
    x[30:33] *= 100
    x[40] *= 1e-3
    x[:, 3] = 0.7
    x[:, 5] = 0.2 + 1e-6 * torch.randn(ROWS, generator=torch.Generator().manual_seed(1))
    x[10:14] = x[9]  # four training rows equal to one before them
    x[100] = x[9]
    x[-2:] = x[20]  # two held-out rows that are training rows
    out = from_array(x, tmp_path / "s", HELD_OUT, prepare, dtype="float32", shard_rows=130)
    checks = Store(out).manifest.checks
    assert (checks["constant_dimensions"], checks["near_constant_dimensions"]) == ([3], [5])
    assert (checks["equal_rows"], checks["held_out_rows_in_training"], checks["hashes_kept"]) == (5, 2, 1)
    assert (checks["rows_above_5_medians"], checks["rows_below_median_by_5"]) == (3, 1)
    for line in (described(out), inspect(out).text()):
        for part in (
            "1 constant dimensions (3)",
            "1 near-constant dimensions (5)",
            "5 training rows (1.1%) equal to an earlier one",
            "2 held-out rows equal to a training row",
            "3 training rows with a norm above 5 medians",
            "1 training rows with a norm below a 5th of the median",
        ):
            assert part in line


def test_rows_that_look_right_are_told_nothing_about(tmp_path):
    out = from_array(activations(), tmp_path / "s", HELD_OUT, dtype="float32")
    assert described(out).endswith("dropped: nothing")
    assert "none equal, no dimension constant" in inspect(out).text()


def test_nan_and_infinity_are_counted_each(tmp_path):
    x = activations()
    x[[3, 4, 300], 1], x[[4, 5], 2] = float("nan"), float("inf")
    with pytest.raises(DataError, match="^4 of 440 .* first in row 3, .* .3 rows with NaN, 2 with infinity."):
        from_array(x, tmp_path / "s", HELD_OUT)


def test_equal_rows_of_many_are_estimated(monkeypatch):
    """2 % of 40,000 rows are copies; a share of a tenth of the hashes knows that within a few standard errors."""
    x = np.random.default_rng(0).standard_normal((40_000, 4)).astype(np.float16)
    x[::50] = x[1::50]
    norm = np.ones(len(x))
    exact = checking.row_checks([x[:30_000]], [x[30_000:]], norm, norm)
    again = np.unique(x[:30_000], axis=0)
    assert exact["equal_rows"] == 30_000 - len(again) and exact["hashes_kept"] == 1
    monkeypatch.setattr(checking, "_MOST_HASHES", 4000)
    estimate = checking.row_checks([x[:30_000]], [x[30_000:]], norm, norm)
    assert estimate["hashes_kept"] == 0.1
    assert abs(estimate["equal_rows"] - exact["equal_rows"]) < 4 * 10 * (exact["equal_rows"] / 10) ** 0.5


def test_rows_that_differ_in_one_number_have_other_hashes():
    x = np.zeros((4096, 64), np.float16)
    x[np.arange(4096), np.arange(4096) % 64] = np.arange(4096)
    assert len(np.unique(checking._hashes([x], 1))) == len(np.unique(x, axis=0))


def test_a_store_is_inspected_with_or_without_checks_in_its_manifest(tmp_path, capsys):
    """Rows of three directions have a spectrum of three numbers, which are the variances along them."""
    directions = np.linalg.qr(np.random.default_rng(1).standard_normal((D, D)))[0][:3]
    x = np.random.default_rng(0).standard_normal((4000, 3)) * [3, 2, 1] @ directions
    out = from_array(x, tmp_path / "s", 1000, dtype="float32")
    found = inspect(out)
    assert found.spectrum[:3] == pytest.approx([9, 4, 1], rel=0.1) and found.spectrum[3:].max() < 1e-9
    expected = np.linalg.eigvalsh(np.cov(x[:3000].T, bias=True))[::-1]
    assert found.spectrum[:3] == pytest.approx(expected[:3], rel=1e-4)
    text = found.text()
    assert f"{expected[0] / expected.sum():.1%} in 1, 100.0% in 8 of 12 dimensions" in text
    assert "3,000" in text and "1,000" in text
    values = json.loads((out / MANIFEST).read_text())
    del values["checks"]
    (out / MANIFEST).write_text(json.dumps(values))
    assert Store(out).manifest.checks == {} and inspect(out).text() == text
    before = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    assert main(["harvest", "--inspect", str(out)]) == 0
    assert capsys.readouterr().out == f"{text}\n"
    assert {path: path.stat().st_mtime_ns for path in out.iterdir()} == before


def test_a_store_half_copied_is_one_sentence(tmp_path, capsys):
    out = from_array(activations(), tmp_path / "s", HELD_OUT, shard_rows=130)
    shard = out / "train-00001.safetensors"
    whole = shard.read_bytes()
    for damage in (lambda: shard.write_bytes(whole[:-9]), shard.unlink, (out / MANIFEST).unlink):
        damage()
        assert main(["harvest", "--inspect", str(out)]) == 1
        err = capsys.readouterr().err
        assert err.count("\n") == 1 and str(out) in err
