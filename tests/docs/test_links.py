"""Every relative link of README and docs/ leads to a file, and every link to a heading to one that is there."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

from tests.docs.pages import EVERY_PAGE, ROOT

LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
# Paths that prose names as code, as `docs/reference/tables.md`; those below runs/ and stores/ are the reader's own.
NAMED = re.compile(r"`((?:docs|fit|sweeps|sae_core|kernels|tests|benchmarks|conf)/[\w./-]*\w/?)`")


def headings(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and MkDocs make them."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    titles = re.findall(r"^#+ (.+)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


def broken(page: Path) -> list[str]:
    """The links of a page that lead nowhere. Pages of the reference are made while the site is built."""
    text = page.read_text(encoding="utf-8")
    lost = []
    for target in LINK.findall(text):
        if re.match(r"https?:|mailto:", target):
            continue
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        if path.parent == ROOT / "docs" / "reference" and path.stem in ("verbs", "config", "changes"):
            continue
        if not path.exists() or (anchor and anchor not in headings(path)):
            lost.append(target)
    return lost


@pytest.mark.parametrize("page", EVERY_PAGE, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    assert broken(page) == []


@pytest.mark.parametrize("page", EVERY_PAGE, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_that_the_prose_names_are_there(page):
    names = NAMED.findall(page.read_text(encoding="utf-8"))
    assert [name for name in names if not (ROOT / name).exists()] == []


def test_a_lost_link_is_seen(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# One\n[a](#one) [b](#two) [c](other.md) [d](page.md#one) ![e](page.png)\n")
    assert broken(page) == ["#two", "other.md", "page.png"]


def test_the_citation_and_the_changes_have_the_version():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert (citation["cff-version"], citation["version"]) == ("1.2.0", version)
    assert [author["name"] for author in citation["authors"]] == ["The saescale developers"]
    assert f"\n## {version}\n" in (ROOT / "CHANGELOG.md").read_text()
