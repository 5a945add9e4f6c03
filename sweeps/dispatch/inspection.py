"""What a store holds, for a reader: its splits, norms, spectrum, equal rows, and what became of its text."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sae_core.data.disk.manifest import SPLITS, Manifest
from sae_core.data.disk.row_checks import remarks, row_checks
from sae_core.data.disk.row_statistics import norm_statistics, spectrum
from sae_core.data.disk.shards import map_rows, read_norms
from sae_core.data.disk.store import Store
from sweeps.dispatch.harvest import account

_SPECTRUM_ROWS = 65_536  # training rows of the covariance: 64 times as many as d = 1024
_DIMENSIONS = (1, 8, 32, 128, 512)
_NORMS = {"lowest": "0.0", "1 %": "0.01", "median": "0.5", "99 %": "0.99", "largest": "1.0"}


@dataclass(frozen=True)
class Inspection:
    """norms: of the rows before preparation, by split. spectrum: eigenvalues of the covariance, the largest first."""

    path: Path
    manifest: Manifest
    norms: dict[str, dict[str, float]]
    spectrum: np.ndarray
    spectrum_rows: int
    remarks: list[str]

    def text(self) -> str:
        m = self.manifest
        lines = [
            f"{self.path}: width {m.d_model}, {m.dtype}, prepared by {m.prepare}, fingerprint {m.fingerprint}",
            f"  {'split':<10}{'rows':>13}{'shards':>8}"
            + "".join(f"{name:>10}" for name in _NORMS)
            + "  (norms)",
        ]
        for split in SPLITS:
            shards = sum(shard.split == split for shard in m.shards)
            norms = "".join(f"{value:>10.4g}" for value in self.norms[split].values())
            lines.append(f"  {split:<10}{m.rows(split):>13,}{shards:>8,}{norms}")
        share = np.cumsum(self.spectrum) / self.spectrum.sum()
        shares = [f"{share[n - 1]:.1%} in {n}" for n in _DIMENSIONS if n < m.d_model]
        flat = self.spectrum.sum() ** 2 / (self.spectrum**2).sum()
        lines += [
            f"spectrum of {self.spectrum_rows:,} training rows: of their variance {', '.join(shares)} of {m.d_model} "
            f"dimensions; as flat as {flat:.3g} equal ones, (Σλ)²/Σλ²",
            f"rows: {'; '.join(self.remarks) or 'none equal, no dimension constant, no norm far from the median'}",
        ]
        counts = [
            f"{n:,} {key.replace('_', ' ')}" for key, n in m.dropped.items() if isinstance(n, int) and n
        ]
        lines.append(f"dropped: {', '.join(counts) or 'nothing'}")
        return "\n".join([*lines, *filter(None, [account(m)])])


def inspect(path: Path) -> Inspection:
    """Read a store and look at its rows, also those of a store whose manifest has no checks. DataError if damaged."""
    store = Store(path)
    m = store.manifest
    files = {split: [path / shard.file for shard in m.shards if shard.split == split] for split in SPLITS}
    norms = {split: np.concatenate([read_norms(file) for file in files[split]]) for split in SPLITS}
    rows = {split: [map_rows(file) for file in files[split]] for split in SPLITS}
    quantiles = {split: norm_statistics(norms[split])["quantiles"] for split in SPLITS}
    sample = store.sample(_SPECTRUM_ROWS).numpy()
    checks = m.checks or row_checks(rows["train"], rows["held_out"], norms["train"], norms["held_out"])
    return Inspection(
        path,
        m,
        {split: {name: quantiles[split][q] for name, q in _NORMS.items()} for split in SPLITS},
        spectrum(sample),
        len(sample),
        remarks(checks, m.rows("train")),
    )
