"""A law of the user in a file of its own, with a column that our tables do not have, through every verb."""

import io
import json
import re

import numpy as np
import pandas as pd
import pytest

from fit.law.errors import FitError
from fit.law.function.smooth import _latex, function_law
from fit.law.laws import LAWS, ORIGINS, named
from fit.study import fits_file
from fit.views.verbs import advise, figures, predict, report
from fit.views.verbs import fit as fit_verb

FILE = '''
import numpy as np
from fit.law import function_law


def reused(x, p):
    """Tokens that are used again count less: no run learns more than its unique tokens hold."""
    D = x.unique_tokens * (1 - np.exp(-x.tokens / x.unique_tokens))
    return p.E + p.A / x.n_latents**p.alpha + p.B / D**p.alpha


REUSED = function_law(
    "L_reused_{number}",
    "L = E + A/N^α + B/D'^α",
    reused,
    ("n_latents", "tokens", "unique_tokens"),
    {{"E": (0.1, 3), "A": (1, 1e4), "B": (1, 1e5), "alpha": (0.05, 1)}},
)
'''
TRUTH = {"E": 1.7, "A": 400.0, "B": 2000.0, "alpha": 0.34}


def rows(law):
    """Runs of each (n, unique tokens) at 2 lr, of which the larger is 1 % worse; the loss has a noise of 0.05 %."""
    n, tokens, unique, lr = (
        v.ravel() for v in np.meshgrid([1e7, 1e8, 1e9, 1e10], [3e9, 3e10, 3e11], [1e10, 2e11], [1e-3, 2e-3])
    )
    x = {"n_latents": n, "tokens": tokens, "unique_tokens": unique}
    noise = 0.0005 * np.random.default_rng(0).standard_normal(len(n))
    table = {
        **x,
        "lr": lr,
        "k": 32,
        "nmse": law.loss(TRUTH, x) * np.exp(noise) * np.where(lr > 1e-3, 1.01, 1),
    }
    return pd.DataFrame({"run_id": [f"r{i}" for i in range(len(n))], **table})


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A folder with the law, the table of runs and what the verb made of them; and the name of the law."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "mylaws.py").write_text(FILE.format(number="verbs"))
    path = f"{folder / 'mylaws.py'}:REUSED"
    rows(named(path)).to_csv(folder / "runs.csv", index=False)
    how = ["--law", path, "--law", "L_ND", "--intervals", "delta"]
    assert fit_verb.main([str(folder / "runs.csv"), *how]) == 0
    return folder, path


@pytest.fixture
def elsewhere(study, monkeypatch):
    """The study as a new process sees it, in which nobody has named the law yet."""
    monkeypatch.delitem(LAWS, "L_reused_verbs")
    monkeypatch.delitem(ORIGINS, "L_reused_verbs")
    return study


def printed(capsys, verb, *words):
    capsys.readouterr()
    assert verb.main([str(word) for word in words]) == 0
    return capsys.readouterr().out


def test_runs_of_other_unique_tokens_do_not_compete(study):
    folder, path = study
    fits = {fit.law: fit for fit in fits_file.read(folder / "fits.json").fits}
    ours = fits["L_reused_verbs"]
    assert ours.rows == 24 and {point.inputs["unique_tokens"] for point in ours.points} == {1e10, 2e11}
    assert (ours.rows_used.used, ours.rows_used.left_out[0].rows) == (24, 24)
    assert (
        ours.rows_used.left_out[0].rule
        == "of runs that are nowhere the lowest of their (n_latents, unique_tokens)"
    )
    assert ours.origin == path and ours.group == {"k": 32}
    for name, value in TRUTH.items():
        assert ours.params[name].low < value < ours.params[name].high
    assert type(ours).from_dict(json.loads(json.dumps(ours.to_dict()))) == ours


def test_evaluations_have_the_column_of_their_run(tmp_path, capsys):
    """unique_tokens is in runs.csv alone; at the end of its curve a run has all its tokens, before fewer."""
    (tmp_path / "mylaws.py").write_text(FILE.format(number="curves"))
    path = f"{tmp_path / 'mylaws.py'}:REUSED"
    table = rows(named(path)).query("lr == 1e-3").drop(columns="lr")
    table["run_id"] = table["n_latents"].astype(str) + " " + table["unique_tokens"].astype(str)
    table[["run_id", "n_latents", "tokens", "nmse"]].to_csv(tmp_path / "curves.csv", index=False)
    table.query("tokens == 3e11").to_csv(tmp_path / "runs.csv", index=False)
    how = ["--law", path, "--intervals", "delta", "--curves", tmp_path / "curves.csv"]
    assert "24 of 24 evaluations used" in printed(capsys, fit_verb, tmp_path / "runs.csv", *how, "-v")
    (fit,) = fits_file.read(tmp_path / "fits.json").fits
    last = [point for point in fit.points if point.inputs["tokens"] == 3e11]
    assert len(last) == 8 and {point.inputs["unique_tokens"] for point in fit.points} == {1e10, 2e11}
    assert fit.params["alpha"].value == pytest.approx(0.34, abs=0.02)


def test_predict_answers_at_a_point_in_a_table_and_for_a_loss(study, capsys):
    folder, path = study
    at = {"n_latents": 1e9, "tokens": 1e11, "unique_tokens": 1e10}
    words = [f"{name}={value:g}" for name, value in at.items()]
    (one,) = json.loads(printed(capsys, predict, folder, *words, "--law", path, "--json"))["predictions"]
    true = float(named(path).loss(TRUTH, {name: np.array([value]) for name, value in at.items()})[0])
    assert one["value"] == pytest.approx(true, rel=0.005) and one["low"] < one["value"] < one["high"]
    pd.DataFrame([at, {**at, "unique_tokens": np.nan}]).to_csv(folder / "points.csv", index=False)
    csv = printed(capsys, predict, folder, "--points", folder / "points.csv", "--law", path)
    (row,) = pd.read_csv(io.StringIO(csv)).to_dict("records")
    assert row["predicted"] == pytest.approx(one["value"], rel=1e-9)
    asked = ["k=32", *words[:1], *words[2:], "--law", path, "--json"]
    needs = printed(capsys, predict, folder, *asked, "--inverse", f"nmse={one['value']!r}")
    assert json.loads(needs)["needs"][0]["value"] == pytest.approx(1e11, rel=1e-6)


def test_advise_takes_the_further_input_and_asks_for_it(study, capsys):
    folder, path = study
    asked = [folder, "--flops", "1e23", "--d-model", "768", "--law", path]
    out = printed(capsys, advise, *asked, "unique_tokens=1e10", "--json")
    (few,) = json.loads(out)["plans"]
    (many,) = json.loads(printed(capsys, advise, *asked, "unique_tokens=2e11", "--json"))["plans"]
    assert few["group"] == {"k": 32, "unique_tokens": 1e10}
    n = [plan["spendings"][1]["n_latents"]["value"] for plan in (few, many)]
    assert n[0] > 1.5 * n[1]  # where tokens are few, money is better spent on n
    assert advise.main([str(word) for word in asked]) == 1
    assert "needs unique_tokens: give unique_tokens=…" in capsys.readouterr().err


def test_without_the_file_other_laws_answer_and_a_sentence_names_it(elsewhere, capsys):
    folder, path = elsewhere
    out = printed(capsys, predict, folder, "n_latents=1e9", "tokens=1e11", "unique_tokens=1e10")
    assert out.splitlines()[2].split()[0] == "L_ND"
    assert "L_reused_verbs (L = E + A/N^α + B/D'^α) is a law of your own" in out and f"--law {path}" in out
    assert (
        predict.main(
            [str(folder), "n_latents=1e9", "tokens=1e11", "unique_tokens=1e10", "--law", "L_reused_verbs"]
        )
        == 1
    )
    assert "No law can answer. L_reused_verbs" in capsys.readouterr().err
    plans = printed(capsys, advise, folder, "--flops", "1e23", "--d-model", "768", "unique_tokens=1e9")
    assert "by L_ND" in plans and "missing: L_reused_verbs" in plans


@pytest.mark.slow
def test_cards_page_and_figures_need_no_function(elsewhere, capsys):
    from fit.views.card import cards

    folder, _ = elsewhere
    fits = [fit for fit in fits_file.read(folder / "fits.json").fits if fit.law == "L_reused_verbs"]
    assert "We fitted L = E + A/N^α + B/D'^α to 24 rows" in cards(fits, "text")
    assert r"We fitted $L = E + A/N^{\alpha} + B/D'^{\alpha}$ to 24 rows" in cards(fits, "latex")
    assert r"$L = E + A/N^{\alpha} + B/D'^{\alpha}$" in cards(fits, "markdown")
    printed(capsys, report, folder / "runs.csv")
    page = (folder / "report.html").read_text()
    assert "L_reused_verbs" in page and "unique_tokens" in page
    printed(capsys, figures, folder / "runs.csv", "--only", "residuals")
    points = pd.read_csv(folder / "figures" / "residuals.csv", comment="#")
    assert points.astype(str).apply(lambda column: column.str.contains("L_reused_verbs").any()).any()


def test_a_law_of_compute_and_another_column_takes_every_row(tmp_path, capsys):
    """The over-training form in its own variables, C and M = D/N."""
    (tmp_path / "mylaws.py").write_text(
        "from fit.law import function_law\n"
        "LAW = function_law('L_over_C', 'L = E + (a·M^η + b·M^−η)·C^−η',\n"
        "    lambda x, p: p.E + (p.a * x.M**p.eta + p.b * x.M**-p.eta) * x.flops**-p.eta, ('flops', 'M'),\n"
        "    {'E': (0.1, 3), 'a': (1, 1e4), 'b': (1, 1e4), 'eta': (0.02, 1)})\n"
    )
    path = f"{tmp_path / 'mylaws.py'}:LAW"
    C, M = (v.ravel() for v in np.meshgrid(np.geomspace(1e18, 1e22, 5), [5.0, 20.0, 80.0, 320.0]))
    truth = {"E": 1.8, "a": 70.0, "b": 250.0, "eta": 0.15}
    y = named(path).loss(truth, {"flops": C, "M": M})
    noise = np.exp(0.002 * np.random.default_rng(0).standard_normal(len(y)))
    pd.DataFrame({"C": C, "M": M, "loss": y * noise}).to_csv(tmp_path / "t.csv", index=False)
    how = ["--law", path, "--map", "flops_sparse=C,nmse=loss", "--intervals", "delta"]
    assert "20 of 20 rows" in printed(capsys, fit_verb, tmp_path / "t.csv", *how, "-v")
    (fit,) = fits_file.read(tmp_path / "fits.json").fits
    assert fit.flops == "sparse" and fit.params["eta"].low < 0.15 < fit.params["eta"].high


def test_an_input_may_be_negative(tmp_path, capsys):
    (tmp_path / "mylaws.py").write_text(
        "import numpy as np\nfrom fit.law import function_law\n"
        "LAW = function_law('L_place', 'y = a + b·exp(c·x)', lambda x, p: p.a + p.b * np.exp(p.c * x.place),\n"
        "    ('place', 'tokens'), {'a': (0.1, 5), 'b': (0.1, 5), 'c': (-2, 2)})\n"
    )
    place = np.linspace(-3, 3, 20)
    y = (1 + 0.3 * np.exp(-0.5 * place)) * np.exp(0.01 * np.random.default_rng(0).standard_normal(20))
    pd.DataFrame({"place": place, "tokens": 1e9, "nmse": y}).to_csv(tmp_path / "t.csv", index=False)
    path = f"{tmp_path / 'mylaws.py'}:LAW"
    printed(capsys, fit_verb, tmp_path / "t.csv", "--law", path, "--intervals", "delta")
    out = printed(capsys, predict, tmp_path, "place=-4", "tokens=1e9", "--law", path)
    assert "0.167 × its range below the smallest place (-3)" in out
    assert predict.main([str(tmp_path), "place=-4", "tokens=-1", "--law", path]) == 1
    assert "tokens is -1: give a finite number above 0" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("absent.py:LAW", "there is no file absent.py"),
        ("{folder}/mylaws.py:NOPE", "has no NOPE; its laws are REUSED"),
    ],
)
def test_a_file_that_has_no_such_law_is_a_sentence(study, path, words):
    with pytest.raises(FitError, match=words):
        named(path.format(folder=study[0]))


def test_two_laws_of_one_file_are_of_one_module(study):
    assert named(study[1]) is named(study[1])


@pytest.mark.parametrize(
    ("formula", "latex"),
    [
        ("L = E + A/N'^α + B/D'^β", r"L = E + A/N'^{\alpha} + B/D'^{\beta}"),
        ("L = (a·M^η + b·M^−η)·C^−η", r"L = (a\,M^{\eta} + b\,M^{-\eta})\,C^{-\eta}"),
        ("L = E·(1 + (N/N_0)^(1/w))^(−δ·w)", r"L = E\,(1 + (N/N_{0})^{1/w})^{-\delta \,w}"),
        ("ℓ = a", ""),
    ],
)
def test_a_formula_becomes_latex(formula, latex):
    assert _latex(formula) == latex
    assert not re.search(r"[^\x20-\x7e]", _latex(formula))


def test_an_input_with_the_name_of_another_number_is_refused():
    with pytest.raises(FitError, match="The input weight of L_odd has the name of another number"):
        function_law("L_odd", "odd", lambda x, p: p.a, ("weight",), {"a": (1, 2)})
