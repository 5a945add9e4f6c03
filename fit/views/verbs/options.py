"""Arguments that several verbs share, each declared once: FITS, `--map`, `--sheet`, `--draws` and `--seed`."""

import argparse
from pathlib import Path

from fit.data.columns import map_help
from fit.law.options import FEWEST_DRAWS


def add_fits(parser: argparse.ArgumentParser) -> None:
    """FITS, the fits that a question is about."""
    parser.add_argument(
        "fits",
        metavar="FITS",
        type=Path,
        help="a fits.json, the folder that holds it, or the table beside it",
    )


def add_map(parser: argparse.ArgumentParser) -> None:
    """`--map`, which names a table's columns."""
    parser.add_argument("--map", default="", metavar="OURS=THEIRS,…", help=map_help())


def add_sheet(parser: argparse.ArgumentParser) -> None:
    """`--sheet`, which sheet of a workbook is the table."""
    parser.add_argument("--sheet", metavar="NAME", help="of an Excel workbook (default: its first with rows)")


def add_laws(parser: argparse.ArgumentParser, text: str) -> None:
    """`--law`, which laws to fit or to ask: repeated, or several in one with commas between them."""
    parser.add_argument("--law", action="extend", type=_laws, metavar="LAW,…", help=text)


def _laws(text: str) -> list[str]:
    laws = [law.strip() for law in text.split(",")]
    if not all(laws):
        raise argparse.ArgumentTypeError(f"must be laws with commas between them, got {text!r}")
    return laws


def add_resampling(parser: argparse.ArgumentParser, default: str) -> None:
    """`--draws` and `--seed`. default: what `--draws` counts, and how many there are without it."""
    parser.add_argument("--draws", type=_draws, metavar="R", help=default)
    parser.add_argument(
        "--seed", type=_seed, default=0, help="seed of every resampling (default: %(default)s)"
    )


def _draws(text: str) -> int:
    if not text.isdigit() or int(text) < FEWEST_DRAWS:
        raise argparse.ArgumentTypeError(f"must be an integer >= {FEWEST_DRAWS}, got {text}")
    return int(text)


def _seed(text: str) -> int:
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"must be an integer >= 0, got {text}")
    return int(text)
