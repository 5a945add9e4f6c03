"""report.html by its content: every law, figure and warning is there, and no name, message or column can harm it."""

import base64
import hashlib
import html
import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from functools import cache
from types import SimpleNamespace

import pandas as pd
import pytest
from markupsafe import Markup

from fit.compute.frontier import LOOSER
from fit.law.caution import Kind
from fit.law.errors import FitError
from fit.study.study_tables import StudyTables
from fit.views.figures import gallery
from fit.views.figures.gallery import FIGURES
from fit.views.format import with_interval
from fit.views.lines.merged_cautions import merged_cautions
from fit.views.lines.verdict import judgements
from fit.views.page import cautions, design, drawings, page, summary
from fit.views.page.lead import divided
from fit.views.page.run_table import cell_text, distinct_values
from fit.views.page.runs import run_table
from fit.views.page.study_report import study_report
from fit.views.verbs import report as cli
from sweeps.verbs import report as verb
from sweeps.verbs.launch import main as launch
from sweeps.verbs.status import main as status
from tests.fit.views.page.page_cases import (
    EVIL,
    GPT4,
    GPT4_FIGURES,
    MESS_FIGURES,
    REGIMES,
    SMOLLM2,
    Seen,
    fits_of_any_table,
    read,
)

seen_in = cache(Seen)  # reading a page with every figure takes a second


def warning_groups(tables):
    return {group.title: group for group in cautions.warnings(study_report(tables)).groups}


def written(param):
    """A parameter in the notation of its own numbers, and in both that its column can have."""
    return [
        with_interval(param["value"], param["low"], param["high"], power=power)
        for power in (None, True, False)
    ]


def squeezed(text):
    return re.sub(r"\s+", "", text)


def test_every_law_of_fits_json_is_there_with_its_intervals_and_held_out_error(smollm2):
    said = squeezed(seen_in(smollm2).text_of["laws"])
    fits = json.loads((SMOLLM2 / "fits.json").read_text())["fits"]
    assert fits
    for fit in fits:
        for param in fit["params"].values():
            assert any(squeezed(text) in said for text in written(param))
        assert f"{fit['starts']['agree']}/{fit['starts']['tried']}" in said
        for rival in fit["comparison"]:
            assert rival["law"] in said


def test_the_first_sentence_has_the_exponents_of_both_regimes(smollm2):
    top = re.sub("<[^>]+>", "", smollm2.split("<nav")[0])
    for fit in json.loads((SMOLLM2 / "fits.json").read_text())["fits"]:
        if fit["law"] in ("L_N", "L_C"):
            alpha = fit["params"]["alpha"]
            assert with_interval(alpha["value"], alpha["low"], alpha["high"]) in top
    assert "14 of 14" in top and seen_in(smollm2).tags["h1"] == 1
    # The law of one of the two k does not describe its rows, and the answer says so.
    assert "a law that the rows refute at k = 32" in " ".join(top.split())


def test_the_page_reads_from_the_answer_to_the_detail(smollm2):
    sections = re.findall(r'<section id="([^"]+)">', smollm2)
    assert sections == [
        "answer",
        "warnings",
        "laws",
        "regimes",
        "swept",
        "cost",
        "provenance",
        "runs",
        "figures",
    ]
    figures = re.findall(r'<figure[^>]* id="figure-([^"]+)"', smollm2)
    answer = smollm2.split('<section id="warnings">')[0]
    assert re.findall(r'<figure[^>]* id="figure-([^"]+)"', answer) == ["l_c", "l_n"] and len(figures) > 4


def test_a_study_with_a_verdict_shows_the_figures_of_its_claims_and_one_without_laws_its_curves():
    def lead(report, *names):
        drawn = tuple(drawings.Drawing(name, Markup(""), "", False) for name in names)
        first, others = divided(drawings.Figures(drawn, ()), report)
        assert {*first.drawings, *others.drawings} == {*drawn}
        return [drawing.name for drawing in first.drawings]

    judged = study_report(read(REGIMES))
    plain = replace(judged, tables=replace(judged.tables, regimes=None))
    assert lead(judged, "batch", "curves", "l_c", "l_n", "l_nk", "lr_ratio") == ["lr_ratio", "batch"]
    assert lead(plain, "batch", "curves", "l_nk", "residuals") == ["l_nk", "curves"]
    assert lead(plain, "dead", "curves") == ["curves", "dead"] and lead(plain) == []


def test_the_regimes_are_one_table_with_a_row_for_each_group(smollm2):
    section = smollm2.split('<section id="regimes">')[1].split("</section>")[0]
    first = section.split("</table>")[0]
    assert first.count("<tr>") == 3 and section.split("<details>")[0].count("<table>") == 1
    head = [
        html.unescape(re.sub("<[^>]+>", "", cell))
        for cell in re.findall("<th scope=.col[^>]*>(.*?)</th>", first)
    ]
    assert head[:5] == ["k", "α of L(C)", "α of L(N)", "E of L(C)", "E of L(N)"]


def test_no_caution_of_the_page_names_an_option_of_the_screen():
    texts = [each.text for each in cautions.warnings(study_report(read(REGIMES))).merged]
    assert any("(T_N)" in text for text in texts) and not any("-v" in text for text in texts)


def test_the_regimes_stand_side_by_side_with_the_caution(smollm2):
    regimes = json.loads((SMOLLM2 / "fits.json").read_text())["regimes"]
    said = seen_in(smollm2).text_of["regimes"]
    assert LOOSER in said and "lr ratio unknown" in said
    for group in regimes["groups"]:
        for row in group["budgets"]:
            assert f"{row['token_ratio']:.1f}" in said and f"{row['n_latents']:,.0f}" in said
    for floor in regimes["floors"]:
        assert any(squeezed(text) in squeezed(said) for text in written(floor))


@pytest.mark.parametrize("which", ["smollm2", "gpt4", "mess"])
def test_every_figure_is_drawn_or_says_what_it_needs(which, request):
    content = request.getfixturevalue(which)
    said = seen_in(content).text_of["figures"]
    for name in {"smollm2": FIGURES, "mess": MESS_FIGURES, "gpt4": GPT4_FIGURES}[which]:
        drawn = re.search(rf'<figure[^>]* id="figure-{name}"><svg ', content)
        assert drawn or f"{name}: " in said
    assert content.count("<svg ") == content.count("<figure") > 0


def test_curves_are_drawn_so_far_and_the_page_says_how_many_runs_have_ended(mess):
    assert "11 of 14 runs have ended" in mess and 'id="figure-curves"' in mess


@pytest.mark.parametrize("which", ["smollm2", "gpt4", "mess"])
def test_ids_are_unique_and_every_reference_is_inside_the_page(which, request):
    seen = Seen(request.getfixturevalue(which))
    assert not [name for name, count in seen.ids.items() if count > 1]
    for link in seen.links:
        assert link.startswith("data:") or (link.startswith("#") and link[1:] in seen.ids), link
    assert not {"iframe", "object", "embed", "img", "base", "form"} & seen.tags.keys()


def test_no_address_stands_in_the_page(smollm2):
    assert not re.findall(r"https?:|@import|//\w+\.\w+", smollm2)


def test_the_policy_lets_this_script_run_and_nothing_else(smollm2):
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]+)"', smollm2)
    (script,) = re.findall(r"<script>(.*?)</script>", smollm2, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy.startswith(f"default-src 'none'; script-src 'sha256-{digest}'; ")
    assert "unsafe-eval" not in policy and "http" not in policy


def test_names_messages_and_columns_are_text(mess):
    seen = seen_in(mess)
    assert [script.get("type") for script in seen.scripts] == ["application/json", None]
    assert f"KeyError: {EVIL}" in seen.text_of["warnings"]
    (heading,) = re.findall("<h1>(.*?)</h1>", mess)
    assert "<" not in heading and html.unescape(heading) == EVIL
    data = json.loads(seen.text_of["runs-data"])
    assert f"{EVIL} & 3" in data["columns"][f"a column {EVIL}"]["texts"]
    assert "<img" not in mess and "alert('x')</script>" not in mess


def test_a_missing_number_is_a_dash_and_not_0(mess):
    head, *rows = seen_in(mess).rows
    (pending,) = [dict(zip(head, row, strict=True)) for row in rows if row[0] == "pending"]
    for column in ("nmse", "tokens", "dead_fraction", "flops_sparse", "tokens_per_second", "converged"):
        assert pending[column] == "–"
    data = json.loads(seen_in(mess).text_of["runs-data"])["columns"]
    assert data["nmse"]["values"].count(None) == 7 == data["nmse"]["texts"].count("–")
    assert {cell_text(nothing) for nothing in (float("nan"), None, pd.NA, pd.NaT)} == {"–"}


def test_the_answer_names_each_claim_with_its_outcome():
    (group,) = read(SMOLLM2.parent / "regimes/synthetic").regimes.groups
    outcomes = summary._outcomes(judgements(group))
    assert re.fullmatch(
        "“the best lr .* compute-optimal one” is refuted, “the batch size moves .*” holds and “.*” is undecided",
        outcomes,
    )


def test_a_law_whose_floor_went_to_0_is_no_trend_towards_a_floor():
    study = read(SMOLLM2.parent / "regimes/smollm2")
    fits = [fit for fit in study.fits if fit.law == "L_N"]
    assert all(any(caution.kind is Kind.NO_FLOOR for caution in fit.cautions) for fit in fits)
    assert not summary._trend(SimpleNamespace(fits=fits), "converged").has_floor
    with_floor = [fit for fit in read(SMOLLM2).fits if fit.law == "L_N"]
    assert summary._trend(SimpleNamespace(fits=with_floor), "converged").has_floor


def test_a_column_has_one_notation_and_a_missing_value_is_none_of_its_values():
    assert [cell_text(speed, "tokens_per_second") for speed in (66753.6, 100362.4)] == ["66,754", "100,362"]
    table = pd.DataFrame({"parametrization": ["mup", None, "standard"], "target": [None, 0.01, 0.01]})
    assert distinct_values(table, "parametrization") == "mup, standard, –"
    assert distinct_values(table, "target") == "0.01, –"


def test_fits_of_fewer_runs_are_told_by_the_groups_that_have_a_fit():
    """Of the third batch size of this study too few runs converged for L(N): no reason to fit again."""
    study = read(SMOLLM2.parent / "regimes/synthetic")
    report = SimpleNamespace(fitted_here=False, fits=study.fits, runs=study.runs)
    assert list(cautions._outdated_fits(report)) == []
    more = pd.concat([study.runs, study.runs[study.runs["batch_tokens"] == 256].head(1)])
    (group,) = cautions._outdated_fits(SimpleNamespace(**{**vars(report), "runs": more}))
    assert "a choice of 65 of the 66 runs" in group.sentences[0]


def test_warnings_are_grouped(mess, smollm2):
    said = seen_in(mess).text_of["warnings"]
    for title in ("Failed", "Diverged", "Cancelled", "Stopped, to be resumed"):
        assert f"{title}: 1 run" in said
    assert "43.0 % dead" in said
    said, laws = (seen_in(smollm2).text_of[name] for name in ("warnings", "laws"))
    assert "Not converged: 1 of 14 runs done" in said
    assert Kind.NOT_IDENTIFIED.heading in said and "(L_C k=16)" in said
    # A line for each kind, as on the screen of `saescale fit`, and one for the run.
    lines = re.findall("\n  <li>", smollm2.split('<section id="warnings">')[1].split("</section>")[0])
    assert len(lines) == 1 + len(merged_cautions(read(SMOLLM2).fits, read(SMOLLM2).regimes)) <= 10
    for fit in json.loads((SMOLLM2 / "fits.json").read_text())["fits"]:
        for warning in fit["warnings"]:
            # That the rows refute a law stands with the law.
            place = laws if "does not describe these rows" in warning else said
            assert re.split(r"[(^_]", warning.replace("alpha", "α"))[0].split("beta")[0] in place


def test_runs_that_stopped_at_a_predicted_limit_are_counted_among_those_not_converged(tmp_path):
    runs = pd.read_parquet(SMOLLM2 / "runs.parquet").assign(ended_by="budget")
    runs.loc[:2, ["converged", "ended_by"]] = [False, "predicted"]
    runs.loc[3, "ended_by"] = "predicted"  # and it had converged
    runs.to_parquet(tmp_path / "runs.parquet")
    groups = warning_groups(read(tmp_path, fits=fits_of_any_table(tmp_path)))
    assert groups["Not converged: 4 of 14 runs done"].sentences == (
        "Of these, 3 runs stopped as asked: L∞ was known to within the target.",
    )


def test_fits_made_before_the_last_runs_ended_are_told(tmp_path):
    runs = pd.read_parquet(SMOLLM2 / "runs.parquet")
    more = runs.assign(run_id=[f"later-{i}" for i in range(len(runs))], seed=1)
    pd.concat([runs, more.head(3)]).to_parquet(tmp_path / "runs.parquet")
    groups = warning_groups(read(tmp_path, fits=fits_of_any_table(tmp_path)))
    (sentence,) = groups["Fits of fewer runs"].sentences
    assert "a choice of 14 of the 17 runs that are done" in sentence
    assert "Fits of fewer runs" not in warning_groups(read(SMOLLM2))


def test_settings_have_their_meaning_and_unit(smollm2):
    said = seen_in(smollm2).text_of["swept"]
    for meaning in ("latents n", "tokens per step B", "budget, tokens", "context length, tokens"):
        assert meaning in said


def test_a_sweep_over_any_setting_has_it_as_an_axis():
    runs = pd.DataFrame(
        {"n_latents": [1, 2], "sparsity_coef": [0.1, 0.2], "matryoshka": ["1,2", "2"], "nmse": [1, 2]}
    )
    assert design.axes(runs) == ["n_latents", "sparsity_coef", "matryoshka"]


def test_cost_and_provenance(smollm2):
    runs, text = pd.read_parquet(SMOLLM2 / "runs.parquet"), seen_in(smollm2).text_of
    assert f"{runs['tokens'].sum():,}" in text["cost"] and f"{runs['flops_dense'].sum():.2e}" in text["cost"]
    assert f"{runs['train_seconds'].sum() / 3600:.3g}" in text["cost"]
    for column in ("git_sha", "torch", "device", "started"):
        assert str(runs[column].min()) in text["provenance"]


def test_every_column_that_holds_something_is_in_the_data_of_the_table(smollm2):
    runs = pd.read_parquet(SMOLLM2 / "runs.parquet")
    seen = seen_in(smollm2)
    assert set(json.loads(seen.text_of["runs-data"])["columns"]) == set(runs.columns[runs.notna().any()])
    assert len(seen.rows) == 1 + len(runs)


def test_the_same_tables_give_the_same_bytes_in_any_folder(tmp_path, few_figures):
    for name in ("runs.parquet", "curves.parquet", "fits.json"):
        shutil.copy(SMOLLM2 / name, tmp_path)
    assert page.page(read(tmp_path)) == page.page(read(SMOLLM2))


def test_the_order_of_the_file_is_not_that_of_the_table():
    tables = read(SMOLLM2)
    mixed = replace(tables, runs=tables.runs.sample(frac=1, random_state=0))
    assert run_table(study_report(mixed)) == run_table(study_report(tables))


def test_a_table_without_runs_curves_or_fits(gpt4):
    text = seen_in(gpt4).text_of
    assert (
        "45 rows" in text["swept"]
        and "L_NK" in text["laws"]
        and "there is nothing to compare" in text["regimes"]
    )
    assert "neither time nor FLOPs" in text["cost"] and "0.378006" not in gpt4 and "0.3780" in gpt4
    assert LOOSER not in text["regimes"]


def test_odd_columns_cost_no_other_part(few_figures):
    runs = pd.DataFrame({"run_id": ["a", "b"], "state": [None, "done"], "n_latents": ["many", 3]})
    runs = runs.assign(nmse=["x", 0.5], k=[[1], {"a": 2}])
    seen = seen_in(page.page(StudyTables(runs)))
    assert seen.rows[0][0] == "state" and len(seen.rows) == 3
    assert (
        "Not fitted, and why" in seen.text_of["laws"] and "could not be made" not in seen.text_of["content"]
    )


def test_a_section_that_fails_costs_no_other(few_figures, monkeypatch):
    def broken(_):
        raise KeyError(EVIL)

    sections = [replace(part, facts=broken) if part.anchor == "cost" else part for part in page.SECTIONS]
    monkeypatch.setattr(page, "SECTIONS", sections)
    seen = seen_in(page.page(read(SMOLLM2)))
    assert f"This part could not be made: KeyError: {EVIL!r}" in seen.text_of["cost"]
    assert sum("could not be made" in seen.text_of[part.anchor] for part in sections) == 1


def test_a_figure_that_breaks_is_one_line_and_costs_no_other(monkeypatch, few_figures):
    def numbers(_):
        raise ValueError(f"what {EVIL}")

    monkeypatch.setitem(gallery.FIGURES, "broken", SimpleNamespace(numbers=numbers, draw=None))
    content = page.section_html("figures", drawings.figures, study_report(read(SMOLLM2)))
    assert "ValueError: what &lt;/script&gt;" in content and 'id="figure-curves"' in content


def test_broken_neighbours_are_told(tmp_path, few_figures):
    shutil.copy(SMOLLM2 / "runs.parquet", tmp_path)
    (tmp_path / "curves.parquet").write_text("no parquet")
    (tmp_path / "fits.json").write_text(json.dumps({"fits": [{"law": "L_N"}]}))
    report = study_report(read(tmp_path))
    for name in ("curves.parquet", "fits.json"):
        assert any(name in note for note in report.notes)
    assert {fit.law for fit in report.fits} >= {"L_N", "L_NK"}
    assert not any(str(tmp_path) in note for note in report.notes)
    with pytest.raises(FitError, match="no file"):
        read(tmp_path, fits=tmp_path / "absent.json")


def test_the_command(tmp_path, capsys, few_figures):
    out = tmp_path / "a" / "page.html"
    assert cli.main([str(SMOLLM2 / "runs.parquet"), "--out", str(out)]) == 0
    assert out.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert [path.name for path in out.parent.iterdir()] == ["page.html"]
    for arguments, words in (
        (["absent.parquet"], "absent.parquet"),
        ([str(tmp_path)], "saescale collect"),
        (["one", "two", "three"], "name one"),
        ([str(GPT4), "--map", "nmse"], "is not a mapping"),
    ):
        assert cli.main(arguments) == 1
        assert words in capsys.readouterr().err
    assert cli.main(["--help"]) == 0 and "--refit" in capsys.readouterr().out


def test_the_verb_collects_a_study_that_has_not_ended(tiny, tmp_path, capsys, few_figures):
    assert launch([*tiny("sae.n_latents=32,48,64"), "launcher=debug", "--wait"]) == 0
    study = tmp_path / "tiny"
    run = next(study.glob("*/result.json")).parent
    (run / "result.json").unlink()
    (run / "status").unlink()
    assert verb.main([str(study)]) == 0
    content = (study / "report.html").read_text(encoding="utf-8")
    assert "2 of 3 runs have ended" in content and 'id="figure-curves"' in content
    assert "Not fitted, and why" in content and "latents.parquet" in content
    assert verb.main([str(tmp_path / "absent")]) == 1 and "No study" in capsys.readouterr().err
    status([str(study), "--plot"])
    assert (
        f"wrote {study}/figures/curves.png" in capsys.readouterr().out
        and (study / "figures" / "curves.pdf").exists()
    )


def test_the_page_needs_none_of_the_other_rooms():
    code = """
import sys
import fit.study.study_tables, fit.views.page.page, sweeps.verbs.report
loaded = {name.split(".")[0] for name in sys.modules}
assert not {"torch", "triton", "hydra", "omegaconf", "submitit", "kernels"} & loaded, loaded
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
