"""`make docs`: the site builds without a warning, has every verb, key and column, and asks nothing of another host."""

import os
import re
import subprocess
import sys

import pytest

from fit.data.columns import RUNS
from sweeps.config.keys import config_keys
from sweeps.verbs.cli import VERBS
from tests.docs.pages import ROOT

# Of what a browser loads by itself; a link is followed by a person.
LOADED = re.compile(
    r"<(?:script|img|iframe|source)[^>]* src=[\"']?(?:https?:)?//"
    r"|<link(?![^>]*rel=[\"']?canonical)[^>]* href=[\"']?(?:https?:)?//"
)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    env = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    return folder


@pytest.mark.slow
def test_the_reference_has_every_verb_key_and_column(site):
    verbs, keys = ((site / "reference" / f"{name}.html").read_text() for name in ("verbs", "config"))
    columns = (site / "reference" / "tables.html").read_text()
    assert [name for name in VERBS if f"saescale {name} " not in verbs] == []
    assert [key for key in config_keys() if f"<code>{key}</code>" not in keys] == []
    assert [column.name for column in RUNS if f"<code>{column.name}</code>" not in columns] == []
    # What a comment in the schema says, of a frozen dataclass and of one with its comment on a line above.
    assert "1: only n" in keys and "Hydra sweep" in keys


@pytest.mark.slow
def test_no_page_loads_anything_from_another_host(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) > 20
    assert [page.name for page in pages if LOADED.search(page.read_text())] == []
    styles = [
        file for file in site.rglob("*.css") if re.search(r"url\([\"']?(?:https?:)?//", file.read_text())
    ]
    assert styles == []
    # Material fetches these where a page has a diagram, or where mkdocs.yml names a repository.
    assert not any('class="mermaid"' in page.read_text() for page in pages)
    assert "repo_url" not in (ROOT / "mkdocs.yml").read_text()


def test_what_loads_from_another_host_is_seen():
    assert LOADED.search('<script async src="https://cdn.example/x.js">')
    assert LOADED.search('<link rel="stylesheet" href="//fonts.example/css">')
    assert not LOADED.search('<a href="https://example.org">') and not LOADED.search('<link href="a.css">')


@pytest.mark.slow
def test_every_key_has_a_meaning(site):
    """From the comment beside its field, or from the column that it fills."""
    page = (site / "reference" / "config.html").read_text()
    rows = [re.findall(r"<td>(.*?)</td>", row, re.S) for row in re.findall(r"<tr>(.*?)</tr>", page, re.S)]
    keys = [row for row in rows if len(row) == 4]
    assert len(keys) > 100
    assert [row[0] for row in keys if not row[3].strip()] == []
