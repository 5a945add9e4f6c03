"""A result is read back from JSON as it was, whatever law, regime or selection it is of."""

import json
import math

import numpy as np
import pandas as pd
import pytest

from fit.law.caution import HEADINGS, Caution, Kind, read_cautions
from fit.law.errors import FitError
from fit.law.fit import fit_law
from fit.law.intervals.misfit import WIDENED
from fit.law.law import RowSource
from fit.law.laws import LAWS, named
from fit.law.options import FitOptions
from fit.law.result import FitResult
from fit.law.selection import (
    BudgetLrSelection,
    BudgetSelection,
    ConvergedSelection,
    FrontierSelection,
    LrSelection,
    OptimumSelection,
)
from fit.regimes.compare import Regimes
from fit.study import fit_study
from tests.fit.laws_under_test import INPUTS, TRUTH
from tests.fit.sweep_tables import Sweep

SELECTIONS = {
    RowSource.FRONTIER: FrontierSelection,
    RowSource.OPTIMUM: OptimumSelection,
    RowSource.CONVERGED: ConvergedSelection,
    RowSource.TOKENS: ConvergedSelection,
    RowSource.LR: LrSelection,
    RowSource.LR_BUDGETS: BudgetLrSelection,
    RowSource.BUDGETS: BudgetSelection,
}


def through_json(content):
    return json.loads(json.dumps(content, allow_nan=False))


@pytest.fixture(scope="module")
def study():
    """Two k and two batch sizes, so that floors, budgets and the batch are compared; the batch without its lr."""
    parts = [Sweep(noise=0.003, kappa=0.2).tables(ks=(k,)) for k in (16, 32)]
    runs, curves = (pd.concat(part) for part in zip(*parts, strict=True))
    runs = runs.assign(nmse_oracle=np.where(runs["n_latents"] > 1000, 0.9 * runs["nmse"], np.nan))
    laws = [*(law for law in LAWS if named(law).rows is not RowSource.NONE and "broken" not in law)]
    return fit_study(runs, curves, laws, options=FitOptions(draws=30), say=str)


def test_every_fit_of_a_study_is_read_back_as_it_was(study):
    assert {named(fit.law).rows for fit in study.fits} == set(SELECTIONS)
    for fit in study.fits:
        back = FitResult.from_dict(through_json(fit.to_dict()))
        assert back == fit, fit.law
        assert isinstance(back.selection, SELECTIONS[named(fit.law).rows])
        assert back.to_dict() == fit.to_dict()


def test_the_regimes_are_read_back_as_they_were(study):
    assert study.regimes.groups and study.regimes.floors and study.regimes.groups[0].budgets
    assert Regimes.from_dict(through_json(study.regimes.to_dict())) == study.regimes
    lacking = fit_study(
        *Sweep().tables(lrs=(1e-4,)), ["L_C", "L_N"], options=FitOptions(draws=30), say=str
    ).regimes
    assert Regimes.from_dict(through_json(lacking.to_dict())) == lacking


@pytest.mark.parametrize("law", list(INPUTS))
def test_a_fit_of_arrays_is_read_back_as_it_was(law):
    y = named(law).loss(TRUTH[law], INPUTS[law])
    y = y * np.exp(0.01 * np.random.default_rng(0).standard_normal(len(y)))
    y[2] *= 1.4
    fit = fit_law(law, INPUTS[law], y, method="delta")
    assert fit.selection is None and fit.inputs == named(law).inputs
    assert FitResult.from_dict(through_json(fit.to_dict())) == fit


@pytest.mark.parametrize("interval", ["law", "measurement"])
def test_a_fit_that_is_read_back_predicts_as_the_live_one(study, interval):
    methods = set()
    for fit in study.fits:
        back = FitResult.from_dict(through_json(fit.to_dict()))
        methods.add(fit.intervals.method.removesuffix(WIDENED))
        beyond = {name: 8 * max(point.inputs[name] for point in fit.points) for name in fit.inputs}
        assert np.array(back.predict(beyond, interval)) == pytest.approx(
            np.array(fit.predict(beyond, interval)), rel=1e-9
        ), fit.law
    assert methods == {"profile", "bootstrap over runs", "sandwich over runs"}


@pytest.mark.parametrize(
    ("law", "method", "objective", "weights", "cluster"),
    [
        ("L_N", "profile", "linear", "w", None),
        ("L_N", "bootstrap", ("huber", 1e-2), None, None),
        ("L_ND", "delta", "log", "w", None),
        ("L_ND", "auto", "log", None, "runs"),
    ],
)
def test_a_fit_of_arrays_that_is_read_back_predicts_as_the_live_one(law, method, objective, weights, cluster):
    y, rng = named(law).loss(TRUTH[law], INPUTS[law]), np.random.default_rng(0)
    y = y * np.exp(0.01 * rng.standard_normal(len(y)))
    fit = fit_law(
        law,
        INPUTS[law],
        y,
        method=method,
        weights=weights and rng.integers(1, 3, len(y)),
        cluster=cluster and np.arange(len(y)) // 2,
        objective=objective,
        draws=40,
        seed=3,
        hold_out=False,
    )
    back = FitResult.from_dict(through_json(fit.to_dict()))
    assert back == fit
    beyond = {name: 8 * values.max() for name, values in INPUTS[law].items()}
    for interval in ("law", "measurement"):
        live = np.array(fit.predict(beyond, interval))
        assert np.array(back.predict(beyond, interval)) == pytest.approx(live, rel=1e-9)


def test_a_result_that_cannot_be_made_again_says_why(study):
    content = through_json(study.fits[0].to_dict())
    inputs = dict.fromkeys(study.fits[0].inputs, 1e16)
    for change, words in (
        ({"recipe": None}, "does not say how it was fitted"),
        ({"rows": 10**6}, "lists . of its 1,000,000 rows"),
        ({"law": "os:system"}, "is a law of your own, and its function is not in the file"),
        ({"formula": "L = 3"}, "is L = 3 in the file it was read from"),
        ({"recipe": content["recipe"] | {"objective": "linear"}}, "another saescale fitted it"),
    ):
        with pytest.raises(FitError, match=words):
            FitResult.from_dict(content | change).predict(inputs)


def test_parts_are_known_by_name(study):
    for fit in study.fits:
        law = named(fit.law)
        assert all(tuple(point.inputs) == law.inputs for point in (*fit.points, *fit.curve))
        assert fit.held_out is None or all(set(p.inputs) == set(law.inputs) for p in fit.held_out.points)
    (joint,) = [fit for fit in study.fits if fit.law == "L_NK"]
    assert [(q.name, q.at) for q in joint.derived.values()] == [
        (name, {"k": k}) for k in (16, 32) for name in ("alpha", "E")
    ]
    alone = [fit for fit in study.fits if fit.law == "L_N"]
    assert alone[0].points[0].run.oracle is None and alone[0].points[-1].run.oracle > 0
    assert alone[0].points[0].run.run_id and alone[0].points[0].value_of("n_latents") == 256


def test_json_keeps_its_keys(study):
    """Files of earlier versions had these; a reader of theirs finds them still."""
    for fit in study.fits:
        content = fit.to_dict()
        assert content["warnings"] == [caution["text"] for caution in content["cautions"]]
        point = content["points"][0]
        assert {"row", fit.response, "predicted", "residual", "weight", "outlier", *fit.inputs} <= set(point)
        held = content["held_out"]
        if held:
            assert {"input", "up_to", "rows", "held", "rms_log", "points", "splits"} <= set(held)
            assert all(point["inputs"].items() <= point.items() for point in held["points"])


def test_an_outlier_keeps_its_score():
    y = named("L_N").loss(TRUTH["L_N"], INPUTS["L_N"])
    y = y * np.exp(0.003 * np.random.default_rng(0).standard_normal(len(y)))
    y[4] *= 1.15
    fit = fit_law("L_N", INPUTS["L_N"], y, hold_out=False, compare=False)
    (outlier,) = FitResult.from_dict(through_json(fit.to_dict())).outliers
    assert outlier.row == 4 and outlier.score == fit.points[4].score and math.isfinite(outlier.score)
    assert Kind.OUTLIERS in [caution.kind for caution in fit.cautions]


def test_a_file_that_lacks_a_part_is_refused_by_its_name(study):
    content = through_json(study.fits[0].to_dict())
    del content["formula"]
    with pytest.raises(FitError, match="a FitResult has no formula"):
        FitResult.from_dict(content)


def test_every_kind_of_caution_has_a_heading():
    assert list(HEADINGS) == list(Kind) and all(kind.heading for kind in Kind)
    caution = Caution(Kind.TRADE_OFF, "E and alpha trade off.", ("E", "alpha"))
    assert (
        Caution.from_dict(through_json({"kind": caution.kind, "text": caution.text, "of": caution.of}))
        == caution
    )


def test_warnings_of_older_files_have_the_kind_other():
    assert read_cautions({"warnings": ["Look."]}) == (Caution(Kind.OTHER, "Look."),)
    assert read_cautions({"warnings": ["Look."], "cautions": []}) == ()
