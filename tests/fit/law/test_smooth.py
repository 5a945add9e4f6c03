"""Laws of one's own as functions: slopes, starts, what is refused, and published forms recovered from noisy rows."""

from dataclasses import replace

import numpy as np
import pytest

from fit.law.basis import Basis
from fit.law.errors import FitError
from fit.law.estimate import estimate
from fit.law.fit import fit_law
from fit.law.function.smooth import function_law
from fit.law.laws import named
from fit.law.losses import LOG, objective
from fit.law.rows import make_rows
from fit.law.solver import Problem, evaluate, system

N, D = (v.ravel() for v in np.meshgrid(np.geomspace(1e7, 1e10, 8), np.geomspace(1e9, 1e12, 6)))
ND = {"n_latents": N, "tokens": D}


def noisy(law, truth, x, seed, noise=0.01):
    y = law.loss(truth, x)
    return y * np.exp(noise * np.random.default_rng(seed).standard_normal(len(y)))


def recovers(result, truth):
    """Every parameter lies in its 95 % interval, with room for the worst of a handful, and each is known."""
    for name, value in truth.items():
        param = result.params[name]
        assert param.low < value < param.high, name
        assert param.high / param.low < 12, name


def tied(x, p):
    return p.E + p.A / x.n_latents**p.alpha + p.B / x.tokens**p.alpha


TIED = function_law(
    "L_tied",
    "L(N, D) = E + A/N^α + B/D^α",
    tied,
    ("n_latents", "tokens"),
    {"E": (0.1, 3), "A": (1, 1e4), "B": (1, 1e5), "alpha": (0.05, 1)},
)
TIED_TRUTH = {"E": 1.7, "A": 400.0, "B": 2000.0, "alpha": 0.34}


def test_one_exponent_in_two_terms_is_recovered():
    result = fit_law(TIED, ND, noisy(TIED, TIED_TRUTH, ND, 1), method="bootstrap", draws=200, hold_out=False)
    recovers(result, TIED_TRUTH)
    assert result.starts.agree >= 12 and result.condition is None


def over_trained(x, p):
    M, C = x.tokens / x.n_latents, 6 * x.n_latents * x.tokens
    return p.E + (p.a * M**p.eta + p.b * M**-p.eta) * C**-p.eta


def test_the_over_training_form_is_recovered():
    """L = E + (a·M^η + b·M^−η)·C^−η with M = D/N (Gadre et al. 2024)."""
    law = function_law(
        "L_over",
        "L(N, D) = E + (a·M^η + b·M^−η)·C^−η, M = D/N",
        over_trained,
        ("n_latents", "tokens"),
        {"E": (0.1, 3), "a": (1, 1e4), "b": (1, 1e4), "eta": (0.02, 1)},
    )
    truth = {"E": 1.8, "a": 70.0, "b": 250.0, "eta": 0.15}
    result = fit_law(law, ND, noisy(law, truth, ND, 2, 0.003), method="bootstrap", draws=200, hold_out=False)
    recovers(result, truth)


def repeated(x, p):
    U = x.unique_tokens
    best = (p.alpha * p.A / (p.beta * p.B) * U**p.beta) ** (
        1 / p.alpha
    )  # the best N for U tokens, each seen once

    def worth(used, unique, R):
        return unique + unique * R * (1 - np.exp(-(used / unique - 1) / R))

    N1, D1 = worth(x.n_latents, np.minimum(x.n_latents, best), p.R_N), worth(x.tokens, U, p.R_D)
    return p.E + p.A / N1**p.alpha + p.B / D1**p.beta


REPEATED = function_law(
    "L_repeated",
    "L(N, D, U) = E + A/N'^α + B/D'^β, D' = U + U·R_D·(1 − exp(−(D/U − 1)/R_D)), N' likewise",
    repeated,
    ("n_latents", "tokens", "unique_tokens"),
    {
        "E": (0.1, 3),
        "A": (1, 1e5),
        "alpha": (0.1, 0.8),
        "B": (1, 1e6),
        "beta": (0.1, 0.8),
        "R_D": (1, 100),
        "R_N": (0.5, 100),
    },
)
REPEATED_TRUTH = {"E": 1.87, "A": 521.0, "alpha": 0.35, "B": 1488.0, "beta": 0.35, "R_D": 15.4, "R_N": 5.3}


@pytest.mark.slow
def test_the_repeated_data_form_is_recovered():
    """R*_D and R*_N of Muennighoff et al. 2023, from rows of up to 60 epochs."""
    grid = np.meshgrid(np.geomspace(1e7, 8e9, 6), np.geomspace(1e9, 1e12, 7), [1e9, 4e9, 2e10])
    n, tokens, unique = (v.ravel() for v in grid)
    some = (tokens >= 0.999 * unique) & (tokens < 60 * unique)
    x = {"n_latents": n[some], "tokens": np.maximum(tokens, unique)[some], "unique_tokens": unique[some]}
    y = noisy(REPEATED, REPEATED_TRUTH, x, 0, 0.005)
    result = fit_law(REPEATED, x, y, method="bootstrap", draws=100, hold_out=False)
    recovers(result, REPEATED_TRUTH)


def test_an_asymmetric_loss_recovers_the_edge_of_a_one_sided_noise():
    """With τ = .1 a tenth of the measurements lies above the law: the noise is drawn so that its 10 % point is 0."""
    law, random = named("L_N"), np.random.default_rng(0)
    truth = {"E": 0.15, "A": 2.0, "alpha": 0.2}
    x = {"n_latents": 2.0 ** random.uniform(9, 19, 300)}
    noise = 0.02 * (random.exponential(size=300) - np.log(10))  # a tenth is above 0
    y = law.loss(truth, x) * np.exp(noise)
    bare = {"hold_out": False, "compare": False}
    result = fit_law("L_N", x, y, objective="asymmetric:0.1", method="bootstrap", draws=200, **bare)
    recovers(result, truth)
    above = np.mean(y > result.predict(x))
    assert above == pytest.approx(0.1, abs=0.02)
    half = fit_law("L_N", x, y, objective="asymmetric:0.5", method="delta", **bare)
    assert np.mean(y > half.predict(x)) == pytest.approx(0.5, abs=0.02)
    assert "weight 0.1 above, 0.9 below" in result.loss


def test_half_and_half_is_huber():
    x, law = {"n_latents": 2.0 ** np.arange(9, 19)}, named("L_N")
    y = noisy(law, {"E": 0.15, "A": 2.0, "alpha": 0.2}, x, 0)
    half, huber = (
        estimate(law, make_rows(law, x, y), objective(name)) for name in ("asymmetric:0.5", "huber")
    )
    assert half.deviance == huber.deviance and half.scatter() == huber.scatter()


def test_a_function_has_the_optimum_of_the_law_of_terms():
    """E + A/N^α + B/D^β written as a function and as a sum of terms, by profile, with its predictions."""
    law = function_law(
        "L_same",
        "L(N, D) = E + A·N^−α + B·D^−β",
        lambda x, p: p.E + p.A * x.n_latents**-p.alpha + p.B * x.tokens**-p.beta,
        ("n_latents", "tokens"),
        {"E": (0.1, 3), "A": (1, 1e4), "alpha": (0.05, 1), "B": (1, 1e5), "beta": (0.05, 1)},
    )
    some = np.arange(0, 48, 3)
    x = {name: v[some] for name, v in ND.items()}
    y = noisy(law, {"E": 1.7, "A": 400.0, "alpha": 0.34, "B": 2000.0, "beta": 0.37}, x, 4)
    ours, terms = (
        fit_law(one, x, y, method="delta", hold_out=False, compare=False) for one in (law, named("L_ND"))
    )
    assert ours.objective == pytest.approx(terms.objective, rel=1e-9)
    for name, param in terms.params.items():
        assert ours.params[name].value == pytest.approx(param.value, rel=1e-5)
    beyond = {"n_latents": 1e11, "tokens": 1e13}
    for ends in zip(ours.predict(beyond, interval="law"), terms.predict(beyond, interval="law"), strict=True):
        assert ends[0] == pytest.approx(ends[1], rel=1e-5)


def test_slopes_and_curvature_of_a_function_against_differences():
    basis = Basis.from_inputs(REPEATED, (x := {**ND, "unique_tokens": np.full(48, 2e10)}))
    truth = np.linalg.solve(basis.inverse, REPEATED.theta(REPEATED_TRUTH))
    theta = truth + 0.1 * np.random.default_rng(1).standard_normal((3, len(truth)))
    y = np.log(REPEATED.loss(REPEATED_TRUTH, x))
    problem = Problem(basis.terms, y, np.ones((1, len(y))), LOG)
    alive, near = np.ones((3, 1), dtype=bool), np.ones(3, dtype=bool)

    def parts(at):
        f, share = evaluate(basis.terms, at, alive)
        g, _, H = system(problem, at, alive, f, share, near)
        return LOG.deviance(f - y, problem.w), g, H

    _, g, H = parts(theta)
    for p in range(theta.shape[1]):
        step = 1e-6 * (np.arange(theta.shape[1]) == p)
        (up, up_g, _), (down, down_g, _) = parts(theta + step), parts(theta - step)
        np.testing.assert_allclose(g[:, p], (up - down) / 4e-6, rtol=1e-5, atol=1e-6 * np.abs(g).max())
        np.testing.assert_allclose(H[:, p], (up_g - down_g) / 2e-6, rtol=1e-4, atol=1e-5 * np.abs(H).max())


FORMS = {
    "powers": lambda x, p: p.a * x.u**-p.b + 2.0**p.c + p.b**2 + p.a**p.b / x.u,
    "exponentials": lambda x, p: np.exp(-p.a * x.u) + np.exp2(p.b) + np.expm1(p.c**2) + 3,
    "logarithms": lambda x, p: (
        np.log(2 + p.a * x.u) + np.log1p(p.b) + np.log2(2 + p.b) + np.log10(9 + p.c) + 1
    ),
    "roots": lambda x, p: np.sqrt(p.a + x.u) + np.square(p.c) + np.reciprocal(p.b) + np.tanh(p.c * x.u) + 4,
    "corners": lambda x, p: (
        np.minimum(x.u, p.a) + np.maximum(p.b, 0.8) + np.where(x.u > p.a, p.b * x.u, p.c**2)
    ),
    "quotients": lambda x, p: 9 - (-p.a) / (1 + p.b * x.u) - 1 / p.b + x.u / (5 + p.c) - (+p.c),
}


@pytest.mark.parametrize("form", FORMS)
def test_jets_give_the_slopes_and_the_curvature_of_complex_steps(form):
    law = function_law("L_form", form, FORMS[form], ("u",), {"a": (0.5, 2), "b": (0.5, 2), "c": (-1, 1)})
    jets, steps = (replace(law.terms[0].bend) for _ in range(2))
    steps.__dict__["_knows_jets"] = False
    random = np.random.default_rng(0)
    u, nu, weight = (
        np.linspace(0.3, 3, 7)[None],
        random.uniform(-0.4, 0.4, (5, 3)),
        random.uniform(size=(5, 7)),
    )
    np.testing.assert_allclose(jets.slopes(u, nu), steps.slopes(u, nu), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(
        jets.curvature(u, nu, weight), steps.curvature(u, nu, weight), rtol=1e-6, atol=1e-6
    )
    for ours, theirs in zip(jets.paired(u[:, :5], nu), steps.paired(u[:, :5], nu), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)
    assert jets.__dict__["_knows_jets"]


def test_a_function_that_jets_do_not_know_is_fitted_by_complex_steps():
    law = function_law(
        "L_sine",
        "y = a + sin(b·x)",
        lambda x, p: p.a + np.sin(p.b * x.u),
        ("u",),
        {"a": (2, 4), "b": (0.5, 2)},
    )
    u = np.linspace(0, 3, 12)
    result = fit_law(law, u, 3 + np.sin(1.2 * u) + 1e-3 * np.cos(9 * u), method="delta", hold_out=False)
    assert result.params["b"].value == pytest.approx(1.2, abs=0.01)
    assert law.terms[0].bend.__dict__["_knows_jets"] is False


def test_a_parameter_whose_range_spans_0_may_be_negative_and_has_its_own_unit():
    law = function_law(
        "L_line",
        "y(x) = a + b·x",
        lambda x, p: p.a + p.b * x.place,
        ("place",),
        {"a": (0, 1e7), "b": (-1e6, 1e6)},
    )
    x = {"place": np.linspace(-3, 3, 12)}
    y = (5e6 - 8e5 * x["place"]) * np.exp(0.01 * np.random.default_rng(0).standard_normal(12))
    result = fit_law(law, x, y)
    assert result.params["b"].value == pytest.approx(-8e5, rel=0.05)
    assert law.bounds["b"] == (-np.inf, np.inf) and result.starts.agree == 16
    assert result.params["b"].low < -8e5 < result.params["b"].high


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (
            lambda x, p: abs(p.E) + p.A * x.n_latents**-0.3,
            "is not analytic in E: at E=.* by a complex step is 0, by a",
        ),
        (
            lambda x, p: -p.E - p.A + 0 * x.n_latents,
            "no positive value for some row at every one of 4,096 places",
        ),
        (lambda x, p: p.E + p.A * np.sqrt(-x.n_latents), "at E=.*, A=.* it is nan for n_latents=512"),
        (lambda x, p: p.E if p.A > 1 else p.A, "raises ValueError: The truth value of an array"),
        (lambda x, p: p.E + p.B * x.n_latents, "raises AttributeError: .*'B'"),
        (lambda x, p: p.E + x.n_latents[:3], r"raises ValueError|returns shape"),
        (lambda x, p: "loss", "raises ValueError"),
    ],
)
def test_a_function_that_cannot_be_fitted_is_refused_in_a_sentence(function, words):
    law = function_law("L_odd", "odd", function, ("n_latents",), {"E": (0.1, 1), "A": (0.5, 2)})
    n = 2.0 ** np.arange(9, 19)
    with pytest.raises(FitError, match=words):
        fit_law(law, n, 0.2 + n**-0.3)


@pytest.mark.parametrize("ends", [(1, 1), (2, 1), (0.1, np.inf), (1, 2, 3)])
def test_a_range_that_is_none_is_refused(ends):
    with pytest.raises(FitError, match="The range of E of L_odd is"):
        function_law("L_odd", "odd", tied, ("n_latents",), {"E": ends})
