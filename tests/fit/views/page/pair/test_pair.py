"""Two studies on one page: their ratios against simulated ones and known factors, and what is refused or doubted."""

import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from fit.law.errors import FitError
from fit.views.page.pair import cheaper, overlaid, pair_page
from fit.views.page.pair.law_table import DIFFERENCE, RATIO, compared, law_table
from fit.views.page.pair.sides import pair, together
from fit.views.verbs import report as cli
from tests.fit.views.page.page_cases import FACTOR, REGIMES, SMOLLM2, Seen, read


def estimate(value, low, high):
    return SimpleNamespace(value=value, low=low, high=high)


@pytest.fixture(scope="module")
def both(cheap):
    return pair(read(SMOLLM2), read(cheap))


def test_a_difference_has_the_interval_of_simulated_estimates():
    rng = np.random.default_rng(0)
    a, b = rng.normal(1.0, 0.1, 200_000), rng.normal(1.5, 0.2, 200_000)
    of_a, of_b = (estimate(np.mean(x), *np.quantile(x, (0.025, 0.975))) for x in (a, b))
    found = compared(DIFFERENCE, of_a, of_b)
    np.testing.assert_allclose((found.low, found.high), np.quantile(b - a, (0.025, 0.975)), atol=0.01)
    assert found.clear and not compared(DIFFERENCE, of_a, of_a).clear


def test_a_ratio_has_the_interval_of_simulated_estimates_and_keeps_its_sides():
    rng = np.random.default_rng(1)
    a, b = np.exp(rng.normal(0.0, 0.3, 200_000)), np.exp(rng.normal(-0.5, 0.1, 200_000))
    of_a, of_b = (estimate(np.median(x), *np.quantile(x, (0.025, 0.975))) for x in (a, b))
    found = compared(RATIO, of_a, of_b)
    np.testing.assert_allclose((found.low, found.high), np.quantile(b / a, (0.025, 0.975)), rtol=0.02)
    one_sided = compared(RATIO, estimate(1.0, 0.5, None), estimate(2.0, 1.0, 3.0))
    assert one_sided.low is None and one_sided.high == pytest.approx(
        2 * np.exp(np.hypot(np.log(1.5), np.log(2)))
    )
    assert compared(RATIO, estimate(0.0, None, 0.1), estimate(1.0, 0.9, 1.1)) is None
    assert compared(RATIO, None, estimate(1.0, 0.9, 1.1)) is None
    assert compared(RATIO, estimate(1.0, 0.0, 1.1), estimate(1.0, 0.9, 1.1)).high is None


def test_each_law_of_both_has_its_estimates_and_the_known_factor(both):
    table = law_table(both)
    assert [law.law for law in table.laws if law.law in ("L_C", "L_N", "L_NK")] == [
        *["L_C"] * 2,
        *["L_N"] * 2,
        "L_NK",
    ]
    for law in table.laws:
        against = {row.quantity: row.compared for row in law.rows}
        if law.law == "L_N":
            assert against["A"].value == pytest.approx(FACTOR) == against["NMSE at n=2,048"].value
            assert against["A"].kind == RATIO and against["α"].kind == DIFFERENCE
            assert against["α"].value == 0 and against["α"].low < 0 < against["α"].high
        if law.law == "L_NK":
            assert {"NMSE at n=2,048, k=16", "NMSE at n=2,048, k=32"} <= against.keys()
    assert not table.alone


def test_laws_without_a_common_scale_are_said_and_not_drawn(both, monkeypatch):
    b = both.b.report
    fits = tuple(
        replace(fit, flops="dense") if fit.law == "L_C" else replace(fit, loss_name="fvu")
        for fit in b.tables.fits
        if fit.law in ("L_C", "L_N") and fit.group["k"] == 16
    )
    changed = pair(both.a.report.tables, replace(b.tables, fits=fits))
    table = law_table(changed)
    notes = {law.law: law.notes[-1] for law in table.laws}
    assert "sparse convention in smollm2 and of the dense convention in cheap" in notes["L_C"]
    assert "smollm2 has NMSE and cheap fvu" in notes["L_N"]
    assert all(row.compared is None for law in table.laws for row in law.rows)
    assert "L_NK: only smollm2 has it." in table.alone and "L_N, k = 32: only smollm2 has it." in table.alone
    drawn = overlaid.figures(changed)
    assert not drawn.drawings and {each.name for each in drawn.missing} == {"L_C, k = 16", "L_N, k = 16"}


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        (
            {"data_fingerprint": "other", "d_model": 64},
            "data_fingerprint .* against other, d_model .* against 64",
        ),
        ({"data_fingerprint": None}, "not known: the table of cheap has no data_fingerprint"),
        ({"activation": "relu"}, "The activation function is topk in smollm2 and relu in cheap"),
    ],
)
def test_what_does_not_compare_is_said(both, columns, sentence):
    b = both.b.report.tables
    doubts = pair(both.a.report.tables, replace(b, runs=b.runs.assign(**columns))).doubts
    assert any(re.search(sentence, doubt) for doubt in doubts)
    assert not both.doubts


def test_the_same_table_or_one_without_rows_is_refused(both):
    a = both.a.report.tables
    with pytest.raises(FitError, match="A and B are the same table"):
        pair(a, a)
    with pytest.raises(FitError, match="B, .*, has no rows"):
        pair(a, replace(both.b.report.tables, runs=a.runs.head(0)))


def test_the_command_for_two(cheap, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(pair_page, "pair_page", lambda a, b: f"{a.path} {b.path}")
    out = tmp_path / "page.html"
    assert cli.main([str(SMOLLM2), str(cheap), "--out", str(out)]) == 0
    assert out.read_text() == f"{SMOLLM2 / 'runs.parquet'} {cheap / 'runs.parquet'}"
    assert cli.main([str(cheap), str(SMOLLM2 / "runs.parquet")]) == 0
    assert (cheap / f"report_{cheap.name}_smollm2.html").exists()
    capsys.readouterr()
    for arguments, words in (
        (["a", "b", "c"], "3 studies are named, a b c: name one, or two"),
        ([str(SMOLLM2), str(cheap), "--fits", "fits.json"], "--fits names a file of one study"),
        ([str(SMOLLM2), "absent.parquet"], "absent.parquet"),
    ):
        assert cli.main(arguments) == 1
        assert words in capsys.readouterr().err


def test_two_studies_without_a_common_k_say_so_and_list_every_fit():
    content = pair_page.pair_page(read(SMOLLM2), read(REGIMES))
    seen = Seen(content)
    reason = "A has k=16, k=32 and B k=8: there is no k that both were trained at."
    head = " ".join(content.split("<nav")[0].split())
    assert (
        f"not known whether smollm2 (A) or regimes (B) needs less compute for the same loss. {reason}" in head
    )
    assert "No figure could be drawn: no law was fitted to the same k of both" in seen.text_of["figures"]
    for group in ("k = 8, B = 256", "k = 8, B = 1,024"):
        assert f"L_N, {group}: only regimes has it." in seen.text_of["laws"]
    assert {"nmse", "lr", "batch_tokens"} <= set(seen.rows[0]) and "d_model" not in seen.rows[0]


@pytest.mark.slow
def test_the_page_of_two_has_the_compute_ratio_its_figures_and_the_runs_of_both(both, cheap):
    content = pair_page.pair_page(read(SMOLLM2), read(cheap))
    assert len(content) < 3e6 and not re.findall(r"https?:|@import|//\w+\.\w+", content)
    seen = Seen(content)
    assert not [name for name, count in seen.ids.items() if count > 1]
    assert "could not be made" not in content
    ratios = cheaper.cheaper(both).ratios
    assert [ratio.name for ratio in ratios] == ["k = 16", "k = 32"]
    for ratio in ratios:
        assert float(ratio.value.split()[0]) == pytest.approx(FACTOR, rel=0.02)
        assert ratio.value in seen.text_of["cheaper"] and ratio.value in content.split("<nav")[0]
    for law in ("L_C", "L_N", "L_NK", "T_N"):
        assert f'id="figure-{law}"' in content
    assert len(seen.rows) == 1 + 28 and seen.rows[0][0] == "side"
    marked = {int(row) for rows in re.findall(r'data-run="([\d ]+)"', content) for row in rows.split()}
    sides = sorted(together(both)["side"])
    assert {sides[row] for row in marked} == {"cheap", "smollm2"} and max(marked) < 28
