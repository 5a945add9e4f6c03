"""The laws: their formulas, the analytic derivatives that the engine uses, and how one's own is added."""

import sys
from dataclasses import replace
from types import ModuleType

import matplotlib.mathtext
import numpy as np
import pytest

from fit.law.basis import Basis
from fit.law.errors import FitError
from fit.law.fit import fit_law
from fit.law.law import Bend, Law, RowSource, Term
from fit.law.laws import LAWS, named, register
from fit.law.losses import LOG, Objective, objective
from fit.law.solver import Problem, evaluate, system
from tests.fit.laws_under_test import INPUTS, JOINT, NK, TRUTH, N

K, C = NK["k"], INPUTS["L_C"]["flops"]
D = INPUTS["L_ND"]["tokens"]
OBJECTIVES = [LOG, Objective("linear"), Objective("huber", 0.3), Objective("asymmetric", 0.3, 0.2)]


def test_every_law_is_under_test():
    assert set(TRUTH) == set(LAWS)


def joint(n, k):
    return np.exp(-0.42 + 0.24 * np.log(k) - 0.027 * np.log(n) - 0.038 * np.log(k) * np.log(n))


@pytest.mark.parametrize(
    ("law", "value"),
    [
        ("L_N", 0.15 + 2 * N**-0.2),
        ("L_C", 0.09 + 40 * C**-0.12),
        ("L_N_pure", 2 * N**-0.2),
        ("L_C_broken", 40 * C**-0.1 * (1 + (C / 5e17) ** (1 / 0.6)) ** (-0.1 * 0.6)),
        ("L_NK", joint(NK["n_latents"], K) + np.exp(-1.32 - 0.096 * np.log(K))),
        ("L_ND", 0.15 + 2 * INPUTS["L_ND"]["n_latents"] ** -0.2 + 30 * D**-0.3),
        (
            "L_ND_cross",
            0.15 + (n_ := INPUTS["L_ND"]["n_latents"]) ** -0.2 * 2 + 30 * n_**0.2 * D**-0.5,
        ),
        (
            "L_NDK",
            joint(INPUTS["L_NDK"]["n_latents"], INPUTS["L_NDK"]["k"])
            + 30 * INPUTS["L_NDK"]["tokens"] ** -0.3
            + np.exp(-1.32 - 0.096 * np.log(INPUTS["L_NDK"]["k"])),
        ),
        ("T_N", 2e6 * N**0.62),
        ("LR_N", 0.03 * N**-0.5),
        ("LR_ND", 4 * INPUTS["LR_ND"]["n_latents"] ** -0.4 * D**-0.3),
        (
            "LR_NDB",
            0.2
            * INPUTS["LR_NDB"]["n_latents"] ** -0.4
            * INPUTS["LR_NDB"]["tokens"] ** -0.3
            * INPUTS["LR_NDB"]["batch_tokens"] ** 0.5,
        ),
        ("LR_NR", 0.03 * INPUTS["LR_NR"]["n_latents"] ** -0.5 * 4 ** INPUTS["LR_NR"]["compute"]),
    ],
)
def test_formulas_are_those_of_the_paper(law, value):
    np.testing.assert_allclose(named(law).loss(TRUTH[law], INPUTS[law]), value, rtol=1e-13)


def test_no_irreducible_loss_is_a_pure_power():
    at_zero = named("L_N").loss({**TRUTH["L_N"], "E": 0.0}, INPUTS["L_N"])
    np.testing.assert_allclose(at_zero, named("L_N_pure").loss(TRUTH["L_N_pure"], INPUTS["L_N"]))


@pytest.mark.parametrize("law", LAWS)
def test_latex_can_be_typeset_and_names_every_parameter(law):
    matplotlib.mathtext.MathTextParser("path").parse(f"${named(law).latex}$")
    words = {
        "alpha": r"\alpha",
        "beta": r"\beta",
        "gamma": r"\gamma",
        "zeta": r"\zeta",
        "eta": r"\eta",
        "rho": r"\rho",
    }
    words |= {
        "beta_k": r"\beta_k",
        "beta_n": r"\beta_n",
        "delta": r"\delta",
        "N0": "N_0",
        "C0": "C_0",
        "T0": "T_0",
    }
    assert all(words.get(name, name) in named(law).latex for name in named(law).params)


def whitened(law, seed=1, rows=4):
    """A law over its rows, and parameters of which none is at an optimum."""
    basis = Basis.from_inputs(named(law), INPUTS[law])
    truth = np.linalg.solve(basis.inverse, named(law).theta(TRUTH[law]))
    return basis, truth + 0.3 * np.random.default_rng(seed).standard_normal((rows, len(truth)))


@pytest.mark.parametrize("law", LAWS)
def test_whitening_changes_parameters_and_not_predictions(law):
    basis, theta = whitened(law)
    of = named(law)
    f, _ = evaluate(basis.terms, theta, np.ones((4, len(of.terms)), dtype=bool))
    for i, inner in enumerate(theta @ basis.inverse.T):
        np.testing.assert_allclose(np.exp(f[i]), of.loss(of.values(inner), INPUTS[law]), rtol=1e-9)
    for j, phi in enumerate(basis.terms.phi):
        np.testing.assert_allclose(phi @ phi.T / phi.shape[1], np.eye(len(phi)), atol=1e-9)
        np.testing.assert_allclose(
            basis.project(j, theta[:, of.block(j)] @ phi), theta[:, of.block(j)], rtol=1e-9, atol=1e-9
        )


@pytest.mark.parametrize("of", OBJECTIVES, ids=lambda o: o.name)
@pytest.mark.parametrize("law", LAWS)
def test_gradient_and_hessian_against_differences(law, of):
    """Central differences of the deviance and of the gradient, with residuals of some 30 %."""
    basis, theta = whitened(law)
    y = np.log(named(law).loss(TRUTH[law], INPUTS[law]))
    if of.name == "linear":  # T(n) is 10⁸, a learning rate 10⁻⁴
        y = y - y.mean()
        theta[:, basis.law.block(0).start] -= theta[:, basis.law.block(0).start].mean()
    problem = Problem(basis.terms, y, np.ones((1, len(y))), of)
    alive, near = np.ones((4, len(basis.law.terms)), dtype=bool), np.ones(4, dtype=bool)

    def parts(at):
        f, share = evaluate(basis.terms, at, alive)
        g, _, H = system(problem, at, alive, f, share, near)
        return of.deviance(of.residual(f, y), problem.w), g, H

    _, g, H = parts(theta)
    for p in range(theta.shape[1]):
        step = 1e-6 * (np.arange(theta.shape[1]) == p)
        (up, up_g, _), (down, down_g, _) = parts(theta + step), parts(theta - step)
        size = np.abs(g).max()
        np.testing.assert_allclose(g[:, p], (up - down) / 4e-6, rtol=1e-5, atol=1e-6 * size)
        if of.name in ("log", "linear"):  # the gradient of the others has corners
            np.testing.assert_allclose(
                H[:, p], (up_g - down_g) / 2e-6, rtol=1e-4, atol=1e-5 * np.abs(H).max()
            )


def test_extreme_parameters_do_not_overflow():
    basis = Basis.from_inputs(named("L_C"), INPUTS["L_C"])
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        f, share = evaluate(basis.terms, np.array([[3e4, 2e4, -1e4]]), np.ones((1, 2), dtype=bool))
    assert np.isfinite(f).all() and np.isfinite(share).all()


def test_a_bend_changes_the_slope_and_nothing_below_it():
    u = np.linspace(0, 20, 2001)
    h = Bend(("delta", "x0", "w")).value(u, np.array([[0.3, 10.0, np.log(0.1)]]))[0]
    np.testing.assert_allclose(h[u < 8], 0, atol=1e-8)
    np.testing.assert_allclose(np.diff(h[u > 12]) / np.diff(u[u > 12]), -0.3, rtol=1e-6)


def test_unknown_law_names_the_known_ones():
    with pytest.raises(FitError, match="L_N, L_C, .*L_NK"):
        named("L_M")


def test_ones_own_law_takes_a_few_lines(monkeypatch):
    monkeypatch.setattr("fit.law.laws.LAWS", dict(LAWS))
    own = register(
        Law(
            name="L_log",
            formula="L(N) = A·exp(−b·(ln N)²)",
            latex=r"L(N) = A e^{-b (\ln N)^2}",
            inputs=("n_latents",),
            params=("A", "b"),
            terms=(Term(("A", "b"), lambda n: (1.0, -(n**2)), (np.geomspace(1e-3, 1.0, 12),)),),
            logs=frozenset({"A"}),
        )
    )
    result = fit_law("L_log", N, own.loss({"A": 0.9, "b": 0.01}, {"n_latents": N}))
    assert result.params["b"].value == pytest.approx(0.01, rel=1e-9)
    with pytest.raises(ValueError, match="There is a law L_log already"):
        register(own)


def test_a_law_of_the_user_is_imported_by_its_path(monkeypatch):
    monkeypatch.setattr("fit.law.laws.LAWS", dict(LAWS))
    module = ModuleType("my_laws")
    module.MINE, module.OTHER = replace(named("L_N_pure"), name="L_mine"), 3
    module.TAKEN = replace(named("L_N_pure"), name="L_N")
    monkeypatch.setitem(sys.modules, "my_laws", module)
    assert named("my_laws:MINE") is named("L_mine")
    for path, words in [
        ("my_laws:NONE", "my_laws has no NONE; its laws are MINE, TAKEN"),
        ("my_laws:OTHER", "is a int"),
        ("my_laws:TAKEN", "has the name L_N of another law"),
    ]:
        with pytest.raises(FitError, match=words):
            named(path)


@pytest.mark.parametrize(
    ("source", "path", "words"),
    [
        ("", "absent:X", "no module absent on PYTHONPATH"),
        ("", "absent.deep:X", "no module absent on PYTHONPATH"),
        ("", ":X", "'' is neither a file mylaws.py nor a module"),
        ("", "broken:X", "broken has no X; it has no law"),
        ("X = (1,\n", "broken:X", r"broken.py, line 1, is not Python: '\(' was never closed"),
        ("import no_such_package\n", "broken:X", "broken needs no_such_package, which is not installed"),
        ("from fit.law import Lew\n", "broken:X", "line 1, raises ImportError: cannot import name 'Lew'"),
        ("\nX = 1 / 0\n", "broken:X", "broken.py, line 2, raises ZeroDivisionError: division by zero"),
        ("X = 3\n", "broken:X", "broken:X is a int, not a fit.law.Law"),
    ],
)
def test_the_reason_why_a_law_cannot_be_imported_is_the_real_one(tmp_path, monkeypatch, source, path, words):
    (tmp_path / "broken.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "broken", raising=False)
    with pytest.raises(FitError, match=words):
        named(path)


def test_a_module_that_lies_in_this_folder_is_found_with_one_word_more(tmp_path, monkeypatch):
    (tmp_path / "mine_here.py").write_text("")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    with pytest.raises(FitError, match="mine_here.py is in this folder: name it as mine_here.py:LAW"):
        named("mine_here:X")


def test_a_law_reports_each_of_its_parameters():
    with pytest.raises(ValueError, match="reports A, alpha, extra; its terms have A, alpha"):
        replace(named("L_N_pure"), params=("A", "alpha", "extra"))


def test_parameters_that_are_logarithms_are_positive():
    assert named("L_N").bounds == {"E": (0.0, np.inf), "A": (0.0, np.inf), "alpha": (-np.inf, np.inf)}


def test_columns_that_vary_together_are_refused():
    n = 2.0 ** np.arange(8, 14)
    with pytest.raises(FitError, match="vary together"):
        Basis.from_inputs(named("L_NK"), {"n_latents": n, "k": np.full(6, 32.0)})


def test_floor_and_exponent_of_each_k_follow_from_the_joint_law():
    result = fit_law("L_NK", NK, named("L_NK").loss(TRUTH["L_NK"], NK), hold_out=False)
    assert result.derived["alpha(k=64)"].value == pytest.approx(
        -JOINT["beta_n"] - JOINT["gamma"] * np.log(64)
    )
    assert result.derived["E(k=64)"].value == pytest.approx(np.exp(-1.32 - 0.096 * np.log(64)))


def test_best_split_of_compute_follows_from_L_ND():
    """N* = G (C/c)^a minimises A N^−α + B (C/(cN))^−β."""
    law, x, truth = named("L_ND"), INPUTS["L_ND"], TRUTH["L_ND"]
    result = fit_law(law, x, law.loss(truth, x), hold_out=False)
    C, c = 1e18, 12.0
    n = np.geomspace(1e2, 1e9, 200_001)
    best = n[np.argmin(law.loss(truth, {"n_latents": n, "tokens": C / (c * n)}))]
    a, G = result.derived["a"].value, result.derived["G"].value
    assert a == pytest.approx(0.3 / 0.5)
    assert G * (C / c) ** a == pytest.approx(best, rel=1e-3)


def test_tokens_to_converge_follow_from_the_interaction_law():
    """At T(N) the law is 1 % above its floor, and ln T rises with ln N at the mean exponent g."""
    law, truth, x = named("L_ND_cross"), TRUTH["L_ND_cross"], INPUTS["L_ND_cross"]
    result = fit_law(law, x, law.loss(truth, x), hold_out=False, compare=False)
    low, high = (result.derived[f"T(n={n:,.0f})"] for n in (N[0], N[-1]))
    floor = truth["E"] + truth["A"] * N[-1] ** -truth["alpha"]
    reached = law.loss(truth, {"n_latents": N[-1:], "tokens": np.array([high.value])})
    assert reached[0] == pytest.approx(1.01 * floor)
    assert (high.name, high.at) == ("T", {"n_latents": N[-1]})
    slope = np.log(high.value / low.value) / np.log(N[-1] / N[0])
    assert result.derived["g"].value == pytest.approx(slope)


@pytest.mark.parametrize("name", ["g", "T(n=512)", "T(n=262,144)"])
def test_slopes_of_the_tokens_to_converge_against_differences(name):
    law = named("L_ND_cross")
    quantity = law.derived(law, INPUTS["L_ND_cross"])[name]
    theta = law.theta(TRUTH["L_ND_cross"])[None]
    for p, slope in enumerate(quantity.of(theta)[1][0]):
        step = 1e-6 * (np.arange(theta.shape[1]) == p)
        difference = quantity.of(theta + step)[0] - quantity.of(theta - step)[0]
        assert slope == pytest.approx(difference[0] / 2e-6, rel=1e-6, abs=1e-7)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("lad", "choose log, linear"),
        ("asymmetric", "between 0 and 1"),
        ("asymmetric:1", "between 0 and 1"),
        ("asymmetric:x", "between 0 and 1"),
        ("huber:x", "positive"),
        ("huber:-1", "positive"),
        ("log:1", "choose log"),
    ],
)
def test_impossible_objectives_are_told(given, words):
    with pytest.raises(FitError, match=words):
        objective(given)


def test_objectives_by_name():
    assert objective("huber") == Objective("huber", 1e-3) == objective(("huber", 1e-3))
    assert objective("huber:0.01").delta == 0.01
    assert objective("asymmetric:0.3") == Objective("asymmetric", 1e-3, 0.3) == objective(("asymmetric", 0.3))
    r = np.array([[-0.5, 0.1, 3.0]])
    weighed = Objective("asymmetric", 1e-9, 0.3).deviance(r, np.ones((1, 3)))[0] / 2e-9
    assert weighed == pytest.approx(2 * (0.7 * 0.5 + 0.3 * 3.1))
    assert Objective("huber", 1.0).deviance(r, np.ones((1, 3)))[0] == pytest.approx(
        0.25 + 0.01 + 2 * (3 - 0.5)
    )


def test_a_law_says_which_rows_it_takes_and_a_law_of_ones_own_by_its_inputs():
    rows = {name: named(name).rows for name in ("L_C", "N_C", "L_N", "L_NK", "T_N", "LR_N", "L_ND", "LR_NR")}
    assert list(rows.values()) == [
        RowSource.FRONTIER,
        RowSource.OPTIMUM,
        RowSource.CONVERGED,
        RowSource.CONVERGED,
        RowSource.TOKENS,
        RowSource.LR,
        RowSource.BUDGETS,
        RowSource.NONE,
    ]
    own = {
        inputs: Law("own", "own", "own", inputs, (), ()).rows
        for inputs in [("flops",), ("n_latents", "tokens"), ("n_latents", "d_model")]
    }
    assert list(own.values()) == [RowSource.FRONTIER, RowSource.BUDGETS, RowSource.CONVERGED]
    assert Law("own", "own", "own", ("flops",), (), (), rows=RowSource.CONVERGED).rows is RowSource.CONVERGED
