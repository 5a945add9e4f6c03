"""Sweeps with a known truth and their fits, made once for all figures."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pytest

from fit.law.options import FitOptions
from fit.study import fit_study
from fit.study.fits_file import write_json
from tests.fit.sweep_tables import Sweep

LRS = tuple(2.5e-5 * 2.0**i for i in range(6))


class Tables(NamedTuple):
    runs: pd.DataFrame
    curves: pd.DataFrame
    fits: dict[str, Any]


def joined(parts: list[tuple[pd.DataFrame, pd.DataFrame]]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Several sweeps as one, each under names and columns of its own."""
    runs, curves = zip(*parts, strict=True)
    return pd.concat(runs, ignore_index=True), pd.concat(curves, ignore_index=True)


def named(tables: tuple[pd.DataFrame, pd.DataFrame], name: str, **columns: Any) -> tuple[Any, Any]:
    """A sweep whose run ids end with a name, and whose runs have further columns."""
    runs, curves = tables
    return (
        runs.assign(run_id=runs["run_id"] + name, **columns),
        curves.assign(run_id=curves["run_id"] + name),
    )


@pytest.fixture(scope="session")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Tables]:
    """Fits tables and returns them with the content of fits.json, as the command would read it."""

    def fit(runs: pd.DataFrame, curves: pd.DataFrame | None, laws: list[str] | None = None) -> Tables:
        study = fit_study(runs, curves, laws, options=FitOptions(draws=20), say=lambda _: None)
        path: Path = tmp_path_factory.mktemp("fits") / "fits.json"
        write_json(study.fits, "runs.parquet", path, study.regimes)
        return Tables(runs, curves, json.loads(path.read_text()))  # type: ignore[arg-type]

    return fit


@pytest.fixture(scope="session")
def swept(fitted: Callable[..., Tables]) -> Tables:
    """6 n × 6 lr × 2 batch sizes at k = 32; a batch four times larger learns 1.3 times slower."""
    return fitted(*Sweep(noise=0.003, b=0.2).tables(lrs=LRS, batches=(512, 2048)))


@pytest.fixture(scope="session")
def subjects(fitted: Callable[..., Tables]) -> Tables:
    """L(N) of two models with exponents 0.30 and 0.25, at k = 32 and 64 for the first, at 32 for the second."""
    parts = [
        named(
            Sweep(alpha=alpha, noise=0.002, kappa=0.3).tables(lrs=(1e-4,), ks=ks),
            model,
            model=model,
            layer=layer,
            data_fingerprint=model,
        )
        for model, layer, alpha, ks in (("small", 8, 0.30, (32, 64)), ("large", 20, 0.25, (32,)))
    ]
    return fitted(*joined(parts), ["L_N"])
