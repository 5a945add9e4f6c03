"""A study in phases that costs nothing: its runs get results that follow known laws instead of being trained."""

import numpy as np

from fit.law.fit import fit_law
from fit.study.fits_file import write_json
from sweeps.dispatch.launch import write_runs
from sweeps.ledger.phase_record import results
from sweeps.ledger.run_folder import Status

STUDY = """# @package _global_
name: two
data:
  synthetic: {d_model: 16, n_features: 300, l0: 3, tail: false, held_out: 512}
sae: {k: 2, dead_tokens: 10000}
train: {batch_tokens: 128, first_eval_tokens: 512, ema: 0.9, epsilon: 0.3}
grid:
  axes: {sae.n_latents: [8, 16, 32]}
  derive:
    train.lr: 1e-2 * sqrt(32 / n_latents)
    train.max_tokens: 512 * n_latents
phases:
  tune:
    stop: budget
    grid:
      axes: {sae.n_latents: [8, 12, 16, 24, 32], train.lr: "geom(6e-3, 54e-3, 3)"}
      derive: {train.max_tokens: 16384}
  main:
    lr: {from: tune, rule: lr_law}
    tokens: {from: tune, rule: tokens_to_convergence, safety: 1.5}
"""
N = np.array([8, 12, 16, 24, 32])
LAWS = {"LR_N": 0.2 * N**-0.5, "T_N": 1000.0 * N**0.6}


class PhaseStudy:
    """The study in a config folder of its own under `folder`; overrides: of it, with more of them."""

    def __init__(self, folder, text=STUDY):
        self.folder = folder
        (folder / "conf" / "study").mkdir(parents=True)
        self.write(text)

    def write(self, text):
        (self.folder / "conf" / "study" / "two.yaml").write_text(text)

    def overrides(self, *more):
        search = f"hydra.searchpath=[file://{self.folder / 'conf'}]"
        return ["study=two", search, f"runs={self.folder / 'runs'}", "launcher=debug", *more]

    def end(self, plan, nmse=0.3):
        """Give every run of a plan a result."""
        write_runs(plan)
        for run in plan.runs:
            folder = plan.study.run(run.run_id)
            folder.set_result({"nmse": nmse, "tokens": run.config.train.budget})
            folder.set_status(Status("done", run.config.train.budget))

    def fit(self, plan, laws=LAWS):
        """Write the laws of a phase, as if they had been fitted to its runs."""
        plan.folder.path.mkdir(parents=True, exist_ok=True)
        fits = [fit_law(name, N, values, hold_out=False) for name, values in laws.items()]
        write_json(fits, "runs.parquet", plan.folder.fits)
        plan.folder.set_fitted(results(plan.study, [run.run_id for run in plan.runs]))
