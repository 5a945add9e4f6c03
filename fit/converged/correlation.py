"""Whether the residuals of a law follow one another along the tokens, as those of one run do."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fit.data.training_runs import PROGRESS
from fit.law.caution import Caution, Kind
from fit.law.law import Array, Inputs

# Independent residuals of m pairs have a lag-1 correlation of 0 ± 1/√m; 3.3 of these is once in 2,000 tables.
SIGMAS = 3.3
LEAST = 0.3
FEWEST_PAIRS = 12
# Residuals below this are rounding.
LEAST_RMS = 1e-7


@dataclass(frozen=True)
class Lag:
    """r = Σ e_t e_{t+1} / √(Σ e_t² Σ e_{t+1}²) over pairs of neighbours in tokens."""

    r: float
    pairs: int

    @property
    def correlated(self) -> bool:
        """Whether r is above what independent rows have by chance, and large enough to matter."""
        return self.pairs >= FEWEST_PAIRS and self.r > max(LEAST, SIGMAS / np.sqrt(self.pairs))


def lag_correlation(residuals: Array, series: NDArray[np.intp], tokens: Array) -> Lag:
    """The correlation of residuals with their next neighbour in tokens, within each series."""
    if not np.sqrt(np.mean(residuals**2)) > LEAST_RMS:
        return Lag(0.0, 0)
    order = np.lexsort((tokens, series))
    e, code, D = residuals[order], series[order], tokens[order]
    next_to = (code[1:] == code[:-1]) & (D[1:] > D[:-1])
    now, after = e[:-1][next_to], e[1:][next_to]
    scale = float(np.sqrt((now @ now) * (after @ after)))
    return Lag(float(now @ after) / scale if scale > 0 else 0.0, int(next_to.sum()))


def correlated_rows(x: Inputs, residuals: Array, why: str) -> list[Caution]:
    """A caution where rows were counted as independent and their residuals follow one another along the tokens.

    x: the inputs of the law, tokens among them. why: what spoke for rows that are runs of their own.
    """
    if PROGRESS not in x:
        return []
    fixed = [name for name in x if name != PROGRESS]
    table = pd.DataFrame({name: np.asarray(x[name]) for name in fixed})
    series = np.zeros(len(residuals), dtype=np.intp)
    if fixed:
        series = table.groupby(fixed, dropna=False).ngroup().to_numpy().astype(np.intp)
    lag = lag_correlation(np.asarray(residuals), series, np.asarray(x[PROGRESS]))
    if not lag.correlated:
        return []
    setting = " and ".join(fixed)
    text = (
        f"Residuals of neighbours in tokens at equal {setting} are correlated (r = {lag.r:.2f} over {lag.pairs} "
        f"pairs), so the intervals, which take each row for a run of its own ({why}), are too narrow. Either the rows "
        f"are of fewer runs, and --cluster {fixed[0] if fixed else 'COLUMN'} is right if each of its values is a run, "
        f"or the law misses their shape."
    )
    return [Caution(Kind.INTERVALS, text, (PROGRESS,))]
