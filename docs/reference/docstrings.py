"""Reads our docstrings for the site: a parameter is described behind its colon, where numpydoc expects its type."""

import re
from typing import Any

from griffe import Extension, Object

SECTION = re.compile(r"^(Parameters|Attributes)\n-+\n(.*?)(?=^\S[^\n]*\n-{3,}$|\Z)", re.M | re.S)


class DescriptionsBehindColons(Extension):
    """Puts the description of a parameter onto a line of its own, as numpydoc has it; types are in the signature."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Rewrite the sections of an object's docstring."""
        if obj.docstring is not None:
            obj.docstring.value = SECTION.sub(_rewritten, obj.docstring.value)


def _rewritten(section: re.Match[str]) -> str:
    items = re.sub(r"^(\w[\w, ]*?) : (.*)$", r"\1\n    \2", section[2], flags=re.M)
    return f"{section[1]}\n{'-' * len(section[1])}\n{items}"
