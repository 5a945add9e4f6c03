"""Renders the facts of a section with its Jinja2 template in `templates/`.

Autoescape is on, so no name, message or column of a table can become markup. A template that reads a fact which does
not exist raises an error instead of printing nothing (StrictUndefined), and a fact that is None prints a dash.
"""

import html
import re
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from fit.views.format import MISSING, greek

TEMPLATES = Path(__file__).parent / "templates"


def formula(written: str) -> Markup:
    """`A·N^−α`, `β_k` and `(C/C0)^(1/w)` with superscripts and subscripts."""
    safe = html.escape(written)
    for _ in range(2):  # an exponent in brackets may contain another one
        safe = re.sub(r"\^\(([^()]*)\)", r"<sup>\1</sup>", safe)
    safe = re.sub(r"\^([−-]?\w+)", r"<sup>\1</sup>", safe)
    return Markup(re.sub(r"(?<=[α-ω])_(\w+)", r"<sub>\1</sub>", safe))


def symbol(name: str) -> Markup:
    """The letter of a parameter: `β_k` for beta_k."""
    return formula(greek(name))


def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: MISSING if value is None else value,
    )
    made.filters["formula"] = formula
    made.filters["symbol"] = symbol
    # Columns keep their order, and a number that JSON does not have is an error here, not in the browser.
    made.policies["json.dumps_kwargs"] = {
        "ensure_ascii": False,
        "allow_nan": False,
        "separators": (",", ":"),
    }
    return made


ENVIRONMENT = _environment()


def render(template: str, **facts: Any) -> Markup:
    """The HTML of `templates/<template>.html.j2` for these facts."""
    return Markup(ENVIRONMENT.get_template(f"{template}.html.j2").render(**facts))
