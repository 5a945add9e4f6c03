"""HTML by small functions: whatever is not `Html` already is escaped, so that no name or message can become markup."""

import html
import re
from collections.abc import Iterable, Sequence
from typing import Any

MISSING = "–"


class Html(str):
    """Text that is markup already."""


def text(value: Any) -> Html:
    """Markup as it is, anything else escaped; None is missing."""
    if isinstance(value, Html):
        return value
    return Html(html.escape(MISSING if value is None else str(value)))


def join(parts: Iterable[Any], by: str = "") -> Html:
    """The parts one after the other, each escaped unless it is markup, and so is what stands between them."""
    return Html(text(by).join(text(part) for part in parts))


def tag(name: str, *children: Any, **attributes: Any) -> Html:
    """An element; class_ is written class, aria_label aria-label; an attribute that is None or False is left out."""
    written = "".join(
        f" {key.rstrip('_').replace('_', '-')}" + ("" if value is True else f'="{html.escape(str(value))}"')
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    return Html(f"<{name}{written}>{join(children)}</{name}>")


def formula(written: str) -> Html:
    """`A·N^−α`, `β_k` and `(C/C0)^(1/w)` with raised and lowered letters."""
    safe = html.escape(written)
    for _ in range(2):  # an exponent in brackets may hold one of its own
        safe = re.sub(r"\^\(([^()]*)\)", r"<sup>\1</sup>", safe)
    safe = re.sub(r"\^([−-]?\w+)", r"<sup>\1</sup>", safe)
    return Html(re.sub(r"(?<=[α-ω])_(\w+)", r"<sub>\1</sub>", safe))


def listed(items: Sequence[Any], **attributes: Any) -> Html:
    """A list, or nothing where there is nothing to list."""
    return tag("ul", *(tag("li", item) for item in items), **attributes) if items else Html()


def folded(summary: Any, *children: Any) -> Html:
    """Something to open, which needs no script."""
    return tag("details", tag("summary", summary), *children)


def table(
    caption: str, head: Sequence[Any], rows: Sequence[Sequence[Any]], words: Iterable[int] = (0,)
) -> Html:
    """A table that scrolls inside its own box; the first cell of a row is its header.

    words: which columns hold words; the others hold numbers and are aligned to the right.
    """
    left = set(words)
    kinds = [None if i in left else "num" for i in range(len(head))]
    top = tag(
        "tr", *(tag("th", cell, scope="col", class_=kind) for cell, kind in zip(head, kinds, strict=True))
    )
    body = [
        tag(
            "tr",
            *(
                tag("td", cell, class_=kind) if i else tag("th", cell, scope="row", class_=kind)
                for i, (cell, kind) in enumerate(zip(row, kinds, strict=True))
            ),
        )
        for row in rows
    ]
    content = tag("table", tag("caption", caption), tag("thead", top), tag("tbody", *body))
    return tag("div", content, class_="box", role="region", aria_label=caption, tabindex="0")
