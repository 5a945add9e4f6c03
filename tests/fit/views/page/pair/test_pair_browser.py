"""The page of two studies in a headless Chromium, with the light and the dark colours of the system."""

import html
import json
import re

import pytest

from fit.views.page.pair import pair_page
from tests.fit.views.page.page_cases import SMOLLM2, Seen, read

pytestmark = pytest.mark.slow
# Frames the page at two widths, and picks the first run of the figure of L(N) in each.
LOOK = """<!doctype html><body><script>
const seen = [];
const look = (frame) => {
  const page = frame.contentDocument, all = (selector) => [...page.querySelectorAll(selector)];
  const svg = page.querySelector('#figure-L_N svg'), dot = svg.querySelector('use[data-run]').getBoundingClientRect();
  const at = { clientX: dot.x + dot.width / 2, clientY: dot.y + dot.height / 2, bubbles: true };
  svg.dispatchEvent(new MouseEvent('click', at));
  return { width: frame.clientWidth, scroll: page.documentElement.scrollWidth,
    figures: all('figure').filter((figure) => figure.querySelector('.picked')).map((figure) => figure.id),
    picked: all('#runs-table tr.picked').map((row) => row.cells[0].textContent) };
};
for (const width of [1280, 400]) {
  const frame = document.createElement('iframe');
  frame.style = `width:${width}px;height:900px;border:0`;
  frame.onload = () => { seen.push(look(frame)); if (seen.length === 2) document.body.append(JSON.stringify(seen)); };
  frame.src = 'pair.html';
  document.body.append(frame);
}
</script></body>"""


@pytest.fixture(scope="module")
def written(cheap, tmp_path_factory):
    out = tmp_path_factory.mktemp("pair") / "pair.html"
    out.write_text(pair_page.pair_page(read(SMOLLM2), read(cheap)), encoding="utf-8")
    return out


@pytest.mark.parametrize("colours", [[], ["--blink-settings=preferredColorScheme=0"]])
def test_it_fits_its_window_and_a_run_is_highlighted_in_every_figure(browser, written, colours):
    (written.parent / "look.html").write_text(LOOK)
    address = f"file://{written.parent}/look.html"
    dom, console = browser.dom(address, "--allow-file-access-from-files", "--window-size=1400,2000", *colours)
    assert not console
    seen = json.loads(html.unescape(re.findall(r"\[\{.*\}\]", dom.split("</script>")[-1])[0]))
    assert sorted(look["width"] for look in seen) == [400, 1280]
    for look in seen:
        assert look["scroll"] <= look["width"]
        assert {"figure-L_N", "figure-L_NK", "figure-T_N"} <= set(look["figures"])
        assert len(look["picked"]) == 1


def test_the_filter_takes_the_side(browser, written):
    dom, console = browser.dom(f"file://{written}#filter=side == 'cheap'")
    assert not console and "14 of 28 runs" in dom
    rows = Seen(dom).rows[1:]
    assert len(rows) == 14 and {row[0] for row in rows} == {"cheap"}
