"""The filter of the report speaks the language of `fit.data.conditions`: the same rows, and the same sentences."""

import html
import json
import re
import shutil
import subprocess

import pytest

from fit.data.conditions import mask
from fit.law.errors import FitError
from fit.views.page.page import HERE
from tests.fit.data.test_conditions import CASES, TABLE
from tests.fit.views.page import chromium

CONDITIONS = [case[0] for case in CASES["holds"] + CASES["errors"]] + CASES["not_understood"]
CONDITIONS += [
    "not " * 101 + "True",
    "k == 8 or " * 200 + "k == 16",
    "k" * 10_001,
    "+".join(["k"] * 150) + " > 1",
]
# Why no row is left, as `conditions.why` says it of the rows of TABLE.
WHY = {
    "k == 64": "No row has k == 64: k is 8, 16 or 32 (missing in 1 of 5).",
    "k == 32 and n_latents > 4000": "k == 32 leaves 2 of 5 rows, and none of them has n_latents > 4000: there "
    "n_latents is 512 or 1024.",
    "lr < 1 and k == 7 and `my loss (eval)` > 9": "No row has k == 7: k is 8, 16 or 32 (missing in 1 of 5). No row has "
    "`my loss (eval)` > 9: my loss (eval) is 1, 2, 3 or 4 (missing in 1 of 5).",
    "(k > 8 and (state == 'failed' or k == 9) and not converged is missing and nmse < 0.5)": "k > 8 and (state == "
    "'failed' or k == 9) and not converged is missing leaves 1 of 5 rows, and none of them has nmse < 0.5: there nmse "
    "is 0.5.",
    "k is missing and lr > 0": "k is missing leaves 1 of 5 rows, and none of them has lr > 0: there lr is missing.",
    "k == 9 if lr > 0 and nmse > 0 else k == 7": "No row has k == 9 if lr > 0 and nmse > 0 else k == 7: k is 8, 16 "
    "or 32 (missing in 1 of 5), lr is 0.0001, 0.001, 0.002 or 0.004 (missing in 1 of 5) and nmse is 0.125, 0.25, 0.5 "
    "or 1.5 (missing in 1 of 5).",
}
RUN = """
const rows = [...columns.k.keys()].map((i) => (name) => columns[name][i]);
const whys = reasons.map((text) => conditions.why(text, Object.keys(columns), rows, (name, row) => String(row(name))));
const answers = cases.map((text) => {
  try {
    const test = conditions.test(text, Object.keys(columns));
    return [...columns.k.keys()].filter((i) => test((name) => columns[name][i]));
  } catch (error) {
    if (!(error instanceof conditions.ConditionError)) throw error;
    return error.message;
  }
});
"""


def expected(condition):
    """The rows for which Python says that the condition holds, or its error."""
    try:
        return [int(i) for i in mask(condition, TABLE).nonzero()[0]]
    except FitError as error:
        return str(error)


def script():
    source = (HERE / "conditions.js").read_text(encoding="utf-8")
    source += f"\nconst columns = {json.dumps(CASES['columns'])}, cases = {json.dumps(CONDITIONS)};"
    return f"{source}\nconst reasons = {json.dumps(list(WHY))};{RUN}"


def check(answers, whys):
    assert dict(zip(WHY, whys, strict=True)) == WHY
    assert not any(isinstance(expected(text), str) or expected(text) for text in WHY)
    assert len(answers) == len(CONDITIONS)
    differing = {
        text: (answer, expected(text))
        for text, answer in zip(CONDITIONS, answers, strict=True)
        if answer != expected(text)
    }
    assert not differing


def test_in_node():
    if not shutil.which("node"):
        pytest.skip("node is not installed; the same cases run in Chromium")
    done = subprocess.run(
        ["node", "-"],
        input=f"{script()}console.log(JSON.stringify([answers, whys]));",
        capture_output=True,
        text=True,
    )
    assert not done.stderr
    check(*json.loads(done.stdout))


@pytest.mark.slow
def test_in_chromium(tmp_path):
    if reason := chromium.install():
        pytest.skip(reason)
    run = f"{script()}document.body.textContent = JSON.stringify([answers, whys]);"
    page = f"<!doctype html><body><script>{run}</script></body>"
    (tmp_path / "conditions.html").write_text(f'<meta charset="utf-8">{page}', encoding="utf-8")
    dom, console = chromium.Browser(tmp_path).dom(f"file://{tmp_path}/conditions.html")
    assert not console
    check(*json.loads(html.unescape(re.search(r"<body>(.*)</body>", dom, re.DOTALL)[1])))
