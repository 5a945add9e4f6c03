"""Pages to test, and a reader of HTML that says what is in them."""

import json
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd

from fit.study.study_tables import StudyTables

ROOT = Path(__file__).parents[4]
SMOLLM2 = ROOT / "docs" / "smollm2"
REGIMES = ROOT / "docs" / "regimes" / "synthetic"
GPT4 = ROOT / "fit" / "datasets" / "gao2024_gpt4_lnk.csv"
EVIL = "</script><script>alert('x')</script><img src=https://evil.example/x.png>"
# Figures of the pages that do not show all of them: each page has one that it can draw; GPT-4's table has no curves.
MESS_FIGURES = ("curves", "dead")
GPT4_FIGURES = ("l_nk", "curves", "latents")
FACTOR = 0.8  # by which the study that is compared with docs/smollm2 differs from it
REGIMES_FIGURES = ("curves", "batch", "lr_ratio", "residuals")
VOID = {"meta", "link", "img", "input", "br", "hr"}


class Seen(HTMLParser):
    """What is in a page: ids, links (each href, src and url(#…)), scripts, rows of #runs-table, the text of each id."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.ids: Counter[str] = Counter()
        self.tags: Counter[str] = Counter()
        self.links: list[str] = []
        self.scripts: list[dict[str, str | None]] = []
        self.rows: list[list[str]] = []
        self.text_of: dict[str, str] = {}
        self.open: list[tuple[str, str | None]] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.tags[tag] += 1
        if "id" in given:
            self.ids[given["id"]] += 1
        for name, value in given.items():
            if name in ("href", "src", "xlink:href", "action", "data", "poster", "srcset"):
                self.links.append(value or "")
            elif value and "url(" in value:
                self.links += [part.split(")")[0] for part in value.split("url(")[1:]]
        if tag == "script":
            self.scripts.append(given)
        if tag not in VOID:
            self.open.append((tag, given.get("id")))
        if self._inside("runs-table"):
            if tag == "tr":
                self.rows.append([])
            elif tag in ("td", "th"):
                self.rows[-1].append("")

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag):
        while self.open and self.open.pop()[0] != tag:
            pass

    def handle_data(self, data):
        for _, name in self.open:
            if name:
                self.text_of[name] = self.text_of.get(name, "") + data
        if self._inside("runs-table") and any(tag in ("td", "th") for tag, _ in self.open):
            self.rows[-1][-1] += data

    def _inside(self, name: str) -> bool:
        return any(found == name for _, found in self.open)


def read(table, mapping=None, fits=None):
    """The tables of a study as `saescale report` reads them."""
    return StudyTables.read(table, mapping, fits=fits, lenient=True)


def fits_of_any_table(folder: Path) -> Path:
    """The fits of docs/smollm2 without the fingerprint of their rows, for a page of changed tables."""
    content = json.loads((SMOLLM2 / "fits.json").read_text(encoding="utf-8"))
    path = folder / "any_table.json"
    path.write_text(json.dumps({**content, "made_from": None}), encoding="utf-8")
    return path


def messy(folder: Path) -> Path:
    """The runs of docs/smollm2 of which some failed, diverged, run, wait, or are named like an attack."""
    runs, curves = (pd.read_parquet(SMOLLM2 / f"{name}.parquet") for name in ("runs", "curves"))
    late = [
        "nmse",
        "converged",
        "tokens",
        "train_seconds",
        "tokens_per_second",
        "dead_fraction",
        "flops_sparse",
    ]
    late += ["flops_dense", "nmse_inf", "nmse_inf_se", "tail_gap", "started", "ended", "git_sha", "device"]
    states = ("failed", "diverged", "cancelled", "running", "pending", "stopped", "done", "unreadable")
    runs["study"] = EVIL
    for i, state in enumerate(states):
        runs.loc[i, "state"] = state
        if state != "done":
            runs.loc[i, ["converged", "nmse"]] = pd.NA
    runs.loc[4, late] = pd.NA
    runs.loc[0, ["failure", "message"]] = ["bug", f"KeyError: {EVIL}"]
    runs.loc[6, "dead_fraction"] = 0.43
    runs[f"a column {EVIL}"] = [f"{EVIL} & {i}" for i in range(len(runs))]
    folder.mkdir(parents=True, exist_ok=True)
    runs.to_parquet(folder / "runs.parquet")
    curves[curves["run_id"] != runs.loc[4, "run_id"]].to_parquet(folder / "curves.parquet")
    return folder
