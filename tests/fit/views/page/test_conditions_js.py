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
RUN = """
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
    return f"{source}\nconst columns = {json.dumps(CASES['columns'])}, cases = {json.dumps(CONDITIONS)};{RUN}"


def check(answers):
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
        input=f"{script()}console.log(JSON.stringify(answers));",
        capture_output=True,
        text=True,
    )
    assert not done.stderr
    check(json.loads(done.stdout))


@pytest.mark.slow
def test_in_chromium(tmp_path):
    if reason := chromium.install():
        pytest.skip(reason)
    run = f"{script()}document.body.textContent = JSON.stringify(answers);"
    page = f"<!doctype html><body><script>{run}</script></body>"
    (tmp_path / "conditions.html").write_text(f'<meta charset="utf-8">{page}', encoding="utf-8")
    dom, console = chromium.Browser(tmp_path).dom(f"file://{tmp_path}/conditions.html")
    assert not console
    check(json.loads(html.unescape(re.search(r"<body>(.*)</body>", dom, re.DOTALL)[1])))
