"""Phases: a later study uses an earlier one's law, plans on a guess and launches on nothing less than a fit."""

import numpy as np
import pandas as pd
import pytest

from fit.law.fit import fit_law
from fit.study.fits_file import write_json
from sweeps.config.earlier_fit import Fitted
from sweeps.config.phases import Step, steps
from sweeps.dispatch import phases
from sweeps.dispatch.launch import launch as start_runs
from sweeps.errors import SweepError
from sweeps.ledger.run_folder import ENDED
from sweeps.planning.plan import make_plan
from sweeps.verbs import launch, plan

RULE = "++grid.derive.train.lr=\"fitted('first', 'LR_N', n_latents, 1e-3)\""


def write_fits(folder, groups=({},), alpha=0.5):
    n = 2.0 ** np.arange(5, 11)
    law = fit_law("LR_N", n, 0.03 * n**-alpha, hold_out=False)
    from dataclasses import replace

    folder.mkdir(parents=True, exist_ok=True)
    return write_json([replace(law, group=group) for group in groups], "runs.parquet", folder / "fits.json")


def without_lr(overrides):
    return [o for o in overrides if not o.startswith("train.lr=")]


def test_studies_are_phases_in_order():
    assert steps(["name=x", "study=demo,batch_size", "seed=0,1"]) == [
        Step(("name=x", "study=demo", "seed=0,1")),
        Step(("name=x", "study=batch_size", "seed=0,1")),
    ]
    assert steps(["study=demo", "seed=0,1"]) == [Step(("study=demo", "seed=0,1"))]
    assert [step.phase for step in steps(["study=demo,demo_phases"])] == [None, "tune", "main"]


def test_law_of_an_earlier_study_is_taken_at_the_cell(tiny, tmp_path):
    given = without_lr(tiny("sae.n_latents=32,128", RULE))
    guessed = make_plan(given)
    assert {run.config.train.lr for run in guessed.runs} == {1e-3} and guessed.grid.waiting == {
        "first (LR_N)"
    }
    write_fits(tmp_path / "first")
    known = make_plan(given)
    found = {run.config.sae.n_latents: run.config.train.lr for run in known.runs}
    assert found == pytest.approx({n: 0.03 * n**-0.5 for n in (32, 128)}, rel=1e-6)
    assert not known.grid.waiting
    write_fits(tmp_path / "first", alpha=0.4)  # fitted anew: read anew
    assert make_plan(given).runs[0].config.train.lr == pytest.approx(0.03 * 128**-0.4, rel=1e-6)


def test_a_guess_is_shown_and_never_launched(tiny, tmp_path, capsys):
    given = without_lr(tiny(RULE, "launcher=debug"))
    assert plan.main(given) == 0
    assert "guessed until it is fitted: first (LR_N)" in capsys.readouterr().out
    assert launch.main(given) == 1
    assert "tiny waits for first (LR_N)" in capsys.readouterr().err
    assert not (tmp_path / "tiny").exists()


def test_fit_of_the_cells_own_k_is_taken(tmp_path):
    write_fits(tmp_path / "first", groups=({"k": 16}, {"k": 32}))
    waiting = set()
    assert Fitted(tmp_path, {"k": 32}, waiting)("first", "LR_N", 64) == pytest.approx(0.03 / 8)
    with pytest.raises(SweepError, match="no fit of LR_N for k=64; it has k=16, k=32"):
        Fitted(tmp_path, {"k": 64}, waiting)("first", "LR_N", 64)
    with pytest.raises(
        SweepError, match=r"no fit of T_N.* beside those there: .*first/runs.parquet --law LR_N --law T_N$"
    ):
        Fitted(tmp_path, {"k": 16}, waiting)("first", "T_N", 64)
    with pytest.raises(SweepError, match="takes n_latents and optionally a guess"):
        Fitted(tmp_path, {"k": 16}, waiting)("first", "LR_N")
    with pytest.raises(SweepError, match="launch and fit second first"):
        Fitted(tmp_path, {"k": 16}, waiting)("second", "LR_N", 64)
    with pytest.raises(SweepError, match=r"sae.parametrization=standard, in .*the same parametrisation\.$"):
        Fitted(tmp_path, {"k": 16, "parametrization": "mup"}, waiting)("first", "LR_N", 64)
    assert not waiting


@pytest.mark.parametrize(
    ("key", "value"), [("sae.parametrization", "'mup'"), ("sae.k", "2"), ("train.batch_tokens", "64")]
)
def test_a_law_knows_of_a_column_that_is_derived_after_it(tiny, tmp_path, key, value):
    """The lr of a standard SAE was taken for one of μP, and that of the first k for any."""
    name = key.split(".")[1]
    write_fits(tmp_path / "first", groups=({"k": 4, "batch_tokens": 128}, {"k": 2, "batch_tokens": 64}))
    given = [one for one in without_lr(tiny(RULE)) if not one.startswith(f"{key}=")]
    with pytest.raises(
        SweepError, match=f"it depends on {name}, which grid.derive has only after it: move {name}"
    ):
        make_plan([*given, f'++grid.derive.{key}="{value}"'])


@pytest.mark.slow
def test_a_phase_is_collected_and_fitted_when_it_has_ended(tiny, tmp_path, capsys):
    """A phase of six sizes; its laws are in fits.json. One that nothing can be fitted to lets none follow."""
    given = tiny("sae.n_latents=8,16,32,64,128,256", "launcher=debug", "train.max_tokens=65536", "train.stop=converged",
                 "train.epsilon=0.2")  # fmt: skip
    assert launch.main(given) == 0
    one = make_plan(given)
    assert phases.finished(one) and set(one.states.values()) <= set(ENDED)
    path = phases.close(one, say=lambda text: None)
    assert path == one.study.path / "fits.json" and path.exists()
    runs = pd.read_parquet(one.study.path / "runs.parquet")
    assert len(runs) == 6
    few = make_plan(tiny("train.lr=1e20", "name=few", "launcher=debug"))  # it diverges
    start_runs(few)
    with pytest.raises(SweepError, match="cannot be fitted, so no phase can follow it"):
        phases.close(few, say=lambda text: None)
