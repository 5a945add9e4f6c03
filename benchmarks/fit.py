"""Time of a fit and of 1,000 bootstrap refits, compared with the fitting packages on PyPI. `make bench-fit`

The contenders take turns to fit the same table, each in its own process with one thread. The time is the CPU seconds of
that process and its children, without imports, as the median over the repeats. The objective is the summed Huber loss
of log residuals, δ = 1e-3, at the fitted parameters (for L(N, K), half the sum of squares). simple-scaling-laws
minimises a different one, the squared residuals of the loss itself: its time is comparable, its objective is not.
"""

import contextlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from statistics import median
from typing import Any

import numpy as np
import pandas as pd

from benchmarks import record
from fit import datasets
from fit.law.fit import fit_law
from fit.law.laws import LAWS
from fit.law.losses import objective

DELTA = 1e-3
REFITS = 1_000
PACKAGES = ("saescale", "numpy", "scipy", "chinchilla", "simple-scaling-laws")
Params = Mapping[str, float | None]


def runs_240() -> tuple[str, pd.DataFrame]:
    """The source, and 240 rows of n_latents, tokens, nmse: Besiroglu et al. 2024 if installed, else from their law."""
    folder = os.environ.get("SAESCALE_REFERENCE_DATA")
    if folder:
        table = pd.read_csv(os.path.join(folder, "chinchilla_besiroglu.csv")).sort_values("loss").iloc[:240]
        names = {"N": "n_latents", "D": "tokens", "loss": "nmse"}
        return "chinchilla_besiroglu", table.rename(columns=names)[list(names.values())].reset_index()
    n, D = (v.ravel() for v in np.meshgrid(np.geomspace(5e7, 1e10, 20), np.geomspace(1e9, 3e11, 12)))
    exact = 1.82 + 478 / n**0.347 + 2143 / D**0.367
    noise = 0.004 * np.random.default_rng(0).standard_t(3, len(n))
    return "synthetic, 240 runs", pd.DataFrame({"n_latents": n, "tokens": D, "nmse": exact * np.exp(noise)})


def _ours(law: str, table: pd.DataFrame, of: str, method: str) -> Params:
    x = {name: table[name] for name in LAWS[law].inputs}
    options: dict[str, Any] = {"method": method, "draws": REFITS, "hold_out": False, "compare": False}
    result = fit_law(law, x, table["nmse"], objective=of, **options)
    return {name: param.value for name, param in result.params.items()}


def ours_fit() -> Params:
    """L(N, D) from 16 starts, delta-method intervals."""
    return _ours("L_ND", runs_240()[1], f"huber:{DELTA}", "delta")


def ours_refits() -> Params:
    """The same fit with 1,000 bootstrap refits, each run to convergence."""
    return _ours("L_ND", runs_240()[1], f"huber:{DELTA}", "bootstrap")


def ours_joint_refits() -> Params:
    """L(N, K) of the 45 GPT-4 SAEs with 1,000 bootstrap refits."""
    return _ours("L_NK", gpt4(), "log", "bootstrap")


def gpt4() -> pd.DataFrame:
    """The 45 GPT-4 SAEs of Gao et al. 2024."""
    return datasets.load("gao2024_gpt4_lnk").rename(columns={"n": "n_latents", "loss": "nmse"})


def chinchilla_fit() -> Params:
    """chinchilla's BFGS with the same Huber loss, from 3⁵ starts over the ranges in its README, which uses 5⁵."""
    from chinchilla import Chinchilla
    from chinchilla._metrics import log_huber

    starts = {"E": (1, 2), "a": (1, 10), "b": (1, 10), "alpha": (0.1, 0.7), "beta": (0.1, 0.7)}
    grid = {name: np.linspace(*ends, 3) for name, ends in starts.items()}
    table = runs_240()[1]
    with tempfile.TemporaryDirectory() as folder:
        model = Chinchilla(folder, param_grid=grid, loss_fn=partial(log_huber, delta=DELTA), log_level=40)
        model.database.df = pd.DataFrame(
            {"C": 6 * table["n_latents"] * table["tokens"], "N": table["n_latents"], "D": table["tokens"]}
        ).assign(loss=table["nmse"])
        model.fit(parallel=False)
        return {name: float(value) for name, value in model.params.items()}


def _simple(draws: int) -> Params:
    import polars
    from simple_scaling_laws import fit

    table = runs_240()[1]
    columns = {
        "training_run_id": [str(i) for i in range(len(table))],
        "model_size__n_params": table["n_latents"].to_numpy(),
        "dataset_size__n_tokens": table["tokens"].to_numpy(),
        "test_loss__loss": table["nmse"].to_numpy(),
    }
    model = fit(polars.DataFrame(columns), law="separable-power", n_draws=draws, seed=0)
    return {name: float(value) for name, value in model.params("test_loss__loss").items()}


def simple_fit() -> Params:
    """simple-scaling-laws' least squares on the loss, with the smallest number of draws that it accepts."""
    return _simple(1)


def simple_refits() -> Params:
    """The same fit with 1,000 draws."""
    return _simple(REFITS)


FITS = (ours_fit, chinchilla_fit, simple_fit)
WITH_REFITS = (ours_refits, simple_refits, ours_joint_refits)
CONTENDERS: dict[str, Callable[[], Params]] = {f.__name__: f for f in (*FITS, *WITH_REFITS)}


def reached(law: str, params: Params, table: pd.DataFrame, of: str) -> float:
    """The objective at the parameters that a contender found."""
    known = {name: float(params[name] or 0.0) for name in LAWS[law].params}
    x = {name: table[name].to_numpy(dtype=float) for name in LAWS[law].inputs}
    r = np.log(LAWS[law].loss(known, x)) - np.log(table["nmse"].to_numpy())
    return float(objective(of).deviance(r[None], np.ones((1, len(r))))[0] / 2)


def measure(name: str) -> dict[str, Any]:
    """CPU seconds of one call in this process, after a warm-up call, and the parameters found."""
    call = CONTENDERS[name]
    with contextlib.redirect_stdout(sys.stderr):
        call()
        before = _cpu()
        wall = time.perf_counter()
        params = call()
        return {
            "cpu": _cpu() - before,
            "wall": time.perf_counter() - wall,
            "params": dict(params),
        }


def _cpu() -> float:
    """CPU seconds of this process and of its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


def _in_its_own_process(name: str) -> dict[str, Any] | str:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.fit", "--contender", name],
        env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        return done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"exit code {done.returncode}"
    return dict(json.loads(done.stdout))


def compare(repeats: int) -> list[dict[str, Any]]:
    """One row per contender: table, median, minimum and maximum of the CPU seconds, and the objective, or the error."""
    found: dict[str, list[dict[str, Any] | str]] = {name: [] for name in CONTENDERS}
    for _ in range(repeats):
        for name in CONTENDERS:
            found[name].append(_in_its_own_process(name))
    return [_row(name, results) for name, results in found.items()]


def _row(name: str, results: list[dict[str, Any] | str]) -> dict[str, Any]:
    failed = next((r for r in results if isinstance(r, str)), None)
    if failed is not None:
        return {"contender": name, "failed": failed}
    good = [r for r in results if not isinstance(r, str)]
    cpu = [r["cpu"] for r in good]
    joint = "joint" in name
    law, of = ("L_NK", "log") if joint else ("L_ND", f"huber:{DELTA}")
    label, table = ("gao2024_gpt4_lnk", gpt4()) if joint else runs_240()
    seconds = {"cpu_s": median(cpu), "least": min(cpu), "most": max(cpu), "repeats": len(cpu)}
    params = good[0]["params"]
    return {
        "contender": name,
        "table": label,
        **seconds,
        "objective": reached(law, params, table, of),
        "params": params,
    }


def as_table(rows: list[dict[str, Any]]) -> str:
    """Format the rows as a table, with ratios to our time for the same task."""
    ours = {row["contender"]: row["cpu_s"] for row in rows if "cpu_s" in row}
    lines = [f"{'contender':<20}{'CPU s':>9}{'least':>9}{'most':>9}{'× ours':>9}  objective"]
    for row in rows:
        if "failed" in row:
            lines.append(f"{row['contender']:<20} failed: {row['failed']}")
            continue
        base = ours.get("ours_fit" if row["contender"].endswith("_fit") else "ours_refits")
        ratio = f"{row['cpu_s'] / base:9.1f}" if base and "joint" not in row["contender"] else f"{'':9}"
        times = "".join(f"{row[name]:9.3f}" for name in ("cpu_s", "least", "most"))
        lines.append(f"{row['contender']:<20}{times}{ratio}  {row['objective']:.8g}")
    return "\n".join(lines)


def main() -> int:
    p = record.parser("fit", __doc__)
    p.add_argument("--repeats", type=int, default=5)
    p.add_argument("--contender", choices=CONTENDERS, help="measure this one here and print its row as JSON")
    options = p.parse_args()
    if options.contender:
        print(json.dumps(measure(options.contender)))
        return 0
    rows = compare(options.repeats)
    print(f"{runs_240()[0]}: L(N, D), 240 runs; gao2024_gpt4_lnk: L(N, K), 45 runs; refits: {REFITS:,}")
    print(as_table(rows))
    print(f"added to {record.append('fit', rows, PACKAGES)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
