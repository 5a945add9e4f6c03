"""report.html as it is laid out in a headless Chromium, at 1280 and 400 px, light, dark and printed."""

import html
import json
import re
import shutil
from pathlib import Path

import pytest
from PIL import Image

pytestmark = pytest.mark.slow
WIDTHS, HEIGHT = (1280, 400), 900
# Pixels of a screenshot whose mean is below the first are a dark page, above the second a light one; figures are both.
DARK, LIGHT = 110, 200
FRAMES = Path(__file__).parent / "frames.html"


@pytest.fixture(scope="module", params=["smollm2", "regimes"])
def looks(request, browser, tmp_path_factory):
    """What is seen of a report in the four frames, and the picture of all of them."""
    folder = tmp_path_factory.mktemp(request.param)
    content = request.getfixturevalue(request.param)
    assert len(content.encode()) < 3e6
    (folder / "report.html").write_text(content, encoding="utf-8")
    shutil.copy(FRAMES, folder)
    url, size = f"file://{folder}/frames.html", f"--window-size={2 * sum(WIDTHS)},{HEIGHT}"
    dom, console = browser.dom(url, "--allow-file-access-from-files", size)
    assert not console
    (seen,) = re.findall(r"<pre hidden=\"\">(.*?)</pre>", dom, re.DOTALL)
    browser.run(url, "--allow-file-access-from-files", size, f"--screenshot={folder / 'frames.png'}")
    return json.loads(html.unescape(seen)), Image.open(folder / "frames.png").convert("L")


def test_the_answer_comes_first_the_runs_within_six_screens_and_nothing_is_too_wide(looks):
    seen, _ = looks
    assert sorted((look["width"], look["dark"]) for look in seen) == [
        (400, False),
        (400, True),
        (1280, False),
        (1280, True),
    ]
    for look in seen:
        assert look["scroll"] <= look["width"] and look["open_scroll"] <= look["width"]
        assert look["outside"] == 0 and look["lead"] < 0.5 and look["drawn"] > 3
        assert len(look["figures"]) == 2
        if look["width"] == 1280:
            assert look["runs"] <= 6 and max(look["figures"]) < 2


def test_every_text_has_contrast_on_its_ground_in_light_and_dark(looks):
    seen, _ = looks
    for look in seen:
        assert look["texts"] > 300
        assert look["contrasts"][0][0] >= 4.5, look["contrasts"]


def test_a_screenshot_is_dark_where_the_system_is(looks):
    seen, picture = looks
    left = 0
    for width, dark in ((1280, False), (1280, True), (400, False), (400, True)):
        part = picture.crop((left, 0, left + width, HEIGHT)).resize((1, 1), Image.Resampling.BOX)
        left += width
        mean = part.getpixel((0, 0))
        assert mean < DARK if dark else mean > LIGHT, (width, dark, mean)


def test_on_paper_everything_is_open_and_no_control_is_left(looks):
    seen, _ = looks
    for look in seen:
        assert look["closed"] == [] and look["controls"] == 0
