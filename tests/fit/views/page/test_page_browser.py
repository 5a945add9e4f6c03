"""report.html in a headless Chromium: no word on the console, figures to be seen, a table that sorts and filters."""

import html
import json
import re
from urllib.parse import quote

import pandas as pd
import pytest

from fit.data import tables
from fit.views.figures import gallery
from fit.views.page.page import page
from fit.views.page.run_table import cell_text
from tests.fit.views.page.page_cases import SMOLLM2, Seen, fits_of_any_table, messy, read

pytestmark = pytest.mark.slow
# In a page of its own that frames the report at two widths: what is seen of it, and what a click does.
LOOK = """<!doctype html><body><script>
const look = (frame) => {
  const page = frame.contentDocument, root = page.documentElement;
  const all = (selector) => [...page.querySelectorAll(selector)];
  for (let click = 0; click < 2; click++) all('#runs-table th button')[1].click();
  return {
    width: frame.clientWidth, scroll: root.scrollWidth,
    drawings: all('figure svg').map((svg) => svg.getBoundingClientRect()).map((r) => [r.width, r.height]),
    sort: all('#runs-table th').map((th) => th.ariaSort), focus: page.activeElement.textContent,
    hash: frame.contentWindow.location.hash,
    column: all('#runs-table tbody tr').map((tr) => tr.cells[1].textContent),
    styled: all('body, p, table').filter((e) => getComputedStyle(e).strokeLinejoin === 'round').length,
  };
};
const seen = [];
for (const width of [1280, 400]) {
  const frame = document.createElement('iframe');
  frame.style = `width:${width}px;height:900px;border:0`;
  frame.onload = () => { seen.push(look(frame)); if (seen.length === 2) document.body.append(JSON.stringify(seen)); };
  frame.src = 'report.html';
  document.body.append(frame);
}
</script></body>"""

# A reader of the page: points at a dot, clicks it, presses Escape, goes over the runs of a figure by keys, and filters.
READER = """<!doctype html><body><script>
const frame = document.createElement('iframe');
frame.style = 'width:WIDTHpx;height:900px;border:0';
const read = () => {
  const page = frame.contentDocument, all = (selector) => [...page.querySelectorAll(selector)];
  const svg = page.querySelector('#figure-l_nk svg'), dot = svg.querySelectorAll('use[data-run]')[3];
  const tip = page.getElementById('run-tip'), seen = {};
  svg.scrollIntoView({ behavior: 'instant' });
  const box = dot.getBoundingClientRect(), at = { clientX: box.x + box.width / 2, clientY: box.y + box.height / 2 };
  const press = (target, key) => target.dispatchEvent(
    new KeyboardEvent('keydown', { key, bubbles: true, cancelable: true }));
  const values = () => [tip.querySelector('b').textContent, ...[...tip.querySelectorAll('dt')].map(
    (name) => `${name.textContent}=${name.nextSibling.textContent}`)];
  const state = () => ({
    figures: all('figure').filter((figure) => figure.querySelector('.picked')).map((figure) => figure.id),
    row: all('#runs-table tr.picked').map((row) => row.textContent), hash: frame.contentWindow.location.hash });
  const near = (offset) => svg.dispatchEvent(
    new PointerEvent('pointermove', { ...at, clientX: at.clientX + offset, bubbles: true }));
  near(4);
  seen.tip = values();
  const place = tip.getBoundingClientRect();
  seen.inside = place.left >= 0 && place.right <= frame.clientWidth && place.top >= 0 && place.bottom <= 900;
  svg.dispatchEvent(new PointerEvent('pointermove', { clientX: 1, clientY: 1, bubbles: true }));
  seen.away = tip.hidden;
  svg.dispatchEvent(new MouseEvent('click', { ...at, bubbles: true }));
  seen.clicked = state();
  press(page.body, 'Escape');
  seen.undone = state();
  frame.contentWindow.focus();
  svg.focus();
  press(svg, 'Home');
  seen.first = values();
  press(svg, 'ArrowRight');
  seen.second = values();
  press(svg, 'Enter');
  seen.entered = state();
  press(svg, 'Escape');
  const filter = page.querySelector('#runs-controls input');
  const type = (text) => { filter.value = text; filter.dispatchEvent(new Event('input')); };
  type('k == 32');
  const out = all('[data-run]').filter((mark) => mark.classList.contains('out'));
  seen.out = [out.length, all('[data-run]').length, Math.max(...out.map((mark) => +getComputedStyle(mark).opacity))];
  seen.bar = page.getElementById('run-bar').textContent;
  seen.reason = ['k == 32 and nmse > 0.35', 'k == 7', 'nonsense', 'k == 32'].map((text) => {
    type(text);
    return page.querySelector('.reason').textContent;
  });
  document.body.append(JSON.stringify(seen));
};
frame.onload = read;
frame.src = 'report.html';
document.body.append(frame);
</script></body>"""


@pytest.fixture(scope="module")
def report(tmp_path_factory, smollm2):
    folder = tmp_path_factory.mktemp("report")
    (folder / "report.html").write_text(smollm2, encoding="utf-8")
    return folder / "report.html"


@pytest.fixture
def no_figures(monkeypatch):
    """For tests of the table: all figures take seconds."""
    monkeypatch.setattr(gallery, "FIGURES", {})


@pytest.fixture
def mess_file(tmp_path, no_figures):
    folder = messy(tmp_path)
    (folder / "report.html").write_text(page(read(folder, fits=fits_of_any_table(folder))), encoding="utf-8")
    return folder / "report.html"


def rows(dom):
    head, *body = Seen(dom).rows
    return [dict(zip((name.strip("↕↑↓") for name in head), row, strict=True)) for row in body]


def test_it_fits_its_window_at_1280_and_400_pixels_and_a_click_sorts(browser, report):
    (report.parent / "look.html").write_text(LOOK)
    dom, console = browser.dom(
        f"file://{report.parent}/look.html", "--allow-file-access-from-files", "--window-size=1400,2000"
    )
    assert not console
    seen = json.loads(html.unescape(re.findall(r"\[\{.*\}\]", dom.split("</script>")[-1])[0]))
    assert sorted(look["width"] for look in seen) == [400, 1280]
    for look in seen:
        assert look["scroll"] <= look["width"]
        assert len(look["drawings"]) >= 4
        for width, height in look["drawings"]:
            assert 250 < width < look["width"] and height > 100
        assert look["sort"][1] == "descending" and look["hash"] == "#sort=-n_latents"
        assert look["column"][0] == "2,048" and look["column"][-1] == "128" and look["focus"] == "n_latents"
        assert look["styled"] == 0, "a figure's style reaches beyond it"


@pytest.mark.parametrize("width", [1280, 400])
def test_a_run_is_pointed_at_highlighted_and_filtered_in_every_figure(browser, report, width):
    (report.parent / "reader.html").write_text(READER.replace("WIDTH", str(width)))
    address = f"file://{report.parent}/reader.html"
    dom, console = browser.dom(address, "--allow-file-access-from-files", "--window-size=1400,1000")
    assert not console
    seen = json.loads(html.unescape(re.findall(r"\{.*\}", dom.split("</script>")[-1])[0]))
    runs = pd.read_parquet(SMOLLM2 / "runs.parquet")
    name, *values = seen["tip"]
    run = runs.set_index("run_id").loc[name.removeprefix("run ")]
    assert f"n_latents={run['n_latents']:,}" in values and f"nmse={cell_text(run['nmse'], 'nmse')}" in values
    assert f"k={run['k']}" in values and seen["inside"] and seen["away"]
    figures = {"figure-fig1", "figure-l_n", "figure-l_nk", "figure-l_c", "figure-curves", "figure-residuals"}
    clicked = seen["clicked"]
    assert figures <= set(clicked["figures"]) and f"run={run.name}" in clicked["hash"]
    assert len(clicked["row"]) == 1 and run.name in clicked["row"][0]
    assert seen["undone"] == {"figures": [], "row": [], "hash": ""}
    first, second = (
        runs.set_index("run_id").loc[seen[at][0].removeprefix("run ")] for at in ("first", "second")
    )
    assert first.name != second.name and second.name in seen["entered"]["row"][0]
    out, marks, opacity = seen["out"]
    assert 0.3 < out / marks < 0.7 and opacity < 0.2
    assert seen["bar"].startswith("7 of 14 runs are left by k == 32")
    both, *others = seen["reason"]
    assert both.startswith("k == 32 leaves 7 of 14 runs, and none of them has nmse > 0.35: there nmse is 0.")
    assert others == ["No run has k == 7: k is 16 or 32.", "No cell of any run has “nonsense”.", ""]


def test_the_address_sorts_and_filters(browser, mess_file):
    url = f"file://{mess_file}#sort=-nmse&filter=k == 32&columns=state,n_latents,k,nmse,run_id"
    dom, console = browser.dom(url)
    assert not console
    shown = rows(dom)
    runs = pd.read_parquet(mess_file.parent / "runs.parquet").query("k == 32")
    assert {row["run_id"] for row in shown} == set(runs["run_id"])
    assert list(shown[0]) == ["state", "n_latents", "k", "nmse", "run_id"]
    losses = [row["nmse"] for row in shown]
    known = [float(loss) for loss in losses if loss != "–"]
    assert known == sorted(known, reverse=True) and losses[len(known) :] == ["–"] * (len(losses) - len(known))
    assert f"{len(runs)} of 14 runs" in dom and 'aria-sort="descending"' in dom
    assert Seen(dom).tags["h1"] == 1 and not Seen(dom).tags["img"]


def test_numbers_sort_as_numbers_states_and_comparisons_filter(browser, mess_file):
    dom, console = browser.dom(
        f"file://{mess_file}#sort=n_latents&filter=n_latents>=320 and nmse<0.3&state=done,diverged"
    )
    assert not console
    shown = rows(dom)
    latents = [int(row["n_latents"].replace(",", "")) for row in shown]
    assert latents == sorted(latents) and set(latents) == {320, 512, 800, 1280, 2048}
    assert {row["state"] for row in shown} == {"done"}


def test_the_filter_takes_conditions_and_words_and_explains_a_mistake(browser, mess_file):
    table = tables.read(mess_file.parent / "runs.parquet")
    for condition in (
        "n_latents in [320, 512] and nmse < 4 * sqrt(k) / 20",
        "not (k == 32) and nmse is not missing",
        "converged == True or state != 'done'",
        "clip_grad is missing and lr * n_latents > 1",
    ):
        dom, console = browser.dom(f"file://{mess_file}#columns=run_id&filter={quote(condition)}")
        assert not console and {row["run_id"] for row in rows(dom)} == {
            *tables.where(table, condition)["run_id"]
        }
    dom, _ = browser.dom(f"file://{mess_file}#columns=run_id&filter=KeyError")
    assert [row["run_id"] for row in rows(dom)] == list(table["run_id"][table["failure"] == "bug"])
    dom, console = browser.dom(f"file://{mess_file}#filter={quote('n_latent > 3')}")
    assert not console and len(rows(dom)) == 14 and 'aria-invalid="true"' in dom
    assert (
        "'n_latent &gt; 3' names n_latent, which is not a column here" in dom
        and "Did you mean n_latents?" in dom
    )


def test_where_its_script_may_not_run_the_table_is_there(browser, report):
    """As with scripts off, which --dump-dom does not bear: the policy names another script than the page has."""
    content = report.read_text(encoding="utf-8").replace("'sha256-", "'sha256-0000")
    (report.parent / "still.html").write_text(content, encoding="utf-8")
    dom, console = browser.dom(f"file://{report.parent}/still.html")
    assert len(console) == 1 and "Content Security Policy" in console[0]
    assert len(rows(dom)) == 14 and 'id="runs-controls" hidden' in dom


def test_two_thousand_runs(browser, tmp_path, no_figures):
    runs = pd.read_parquet(SMOLLM2 / "runs.parquet")
    many = pd.concat([runs.assign(seed=i, run_id=[f"{i:06x}{j:06x}" for j in range(14)]) for i in range(143)])
    many.to_parquet(tmp_path / "runs.parquet")
    out = tmp_path / "report.html"
    out.write_text(page(read(tmp_path, fits=fits_of_any_table(tmp_path))), encoding="utf-8")
    dom, console = browser.dom(f"file://{out}#sort=-seed")
    assert not console and "2,002 of 2,002 runs" in dom and rows(dom)[0]["seed"] == "142"
    assert out.stat().st_size < 8e6  # bytes


def test_it_prints_on_a4(browser, report, tmp_path):
    browser.run(f"file://{report}", "--no-pdf-header-footer", f"--print-to-pdf={tmp_path / 'report.pdf'}")
    boxes = re.findall(rb"/MediaBox\s*\[([\d. ]+)\]", (tmp_path / "report.pdf").read_bytes())
    assert 3 <= len(boxes) <= 20
    for box in boxes:
        assert [float(x) for x in box.split()] == pytest.approx([0, 0, 595, 842], abs=1)
