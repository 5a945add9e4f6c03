"""What README and the pages of docs/ print for a reader to run: commands, the output below them, YAML and Python."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "docs").glob("howto/*.md")),
    *sorted((ROOT / "docs").glob("guide/*.md")),
    ROOT / "docs" / "reference" / "tables.md",
]
# With the pages that lie beside data, of which only commands and links are read.
EVERY_PAGE = [
    *PAGES,
    *sorted((ROOT / "docs").glob("[gsr]*/README.md")),
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
]
RUNS = ("saescale ", "make ", "source ", "pip ")


@dataclass(frozen=True)
class Block:
    """A fenced block. language: "" where none is named."""

    page: Path
    language: str
    text: str

    @property
    def name(self) -> str:
        """The page and how the block begins, as `README.md: # mine/grid/mine.yaml`."""
        return f"{self.page.relative_to(ROOT)}: {squeezed(self.text)[:24].strip()}"

    @property
    def commands(self) -> list[str]:
        """The commands of a block that lists some, without their comments."""
        lines = [line.removeprefix("$ ") for line in self.text.splitlines()]
        return [re.split(r"\s+#\s", line)[0].rstrip() for line in lines if line.startswith(RUNS)]


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page."""
    fences = re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text(encoding="utf-8"), re.M | re.S)
    return [Block(page, language, text) for language, text in fences]


def inline_commands(page: Path) -> Iterator[list[str]]:
    """The arguments of each `saescale VERB …` in the prose of a page, after the command's name."""
    prose = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    for text in re.findall(r"`saescale ([^`]+)`", prose):
        yield shlex.split(" ".join(text.split()))


def squeezed(text: str) -> str:
    """The text with single spaces, so that neither alignment nor the width of a line counts."""
    return " ".join(text.split())
