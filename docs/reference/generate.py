"""Pages of the site that are made while it is built: the verbs from their --help, the config keys from the schema.

A hook of MkDocs, see `hooks` in mkdocs.yml.
"""

import ast
import inspect
import io
import os
import re
import tokenize
from collections.abc import Iterator
from dataclasses import MISSING, Field, fields, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from fit.data.columns import RUNS
from sae_core import config as sae_config
from sae_core.data import configs as data_configs
from sweeps.config.keys import config_groups
from sweeps.config.schema import Config, Phase
from sweeps.verbs.cli import VERBS, named

ROOT = Path(__file__).parents[2]
# What the table of columns says about a setting, where the dataclass has no comment beside it.
COLUMNS = {column.key: column.meaning for column in RUNS if column.key}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages, which are not in the repository."""
    pages = {"verbs": verbs(), "config": config_keys(), "changes": (ROOT / "CHANGELOG.md").read_text("utf-8")}
    for name, text in pages.items():
        files.append(File.generated(config, f"reference/{name}.md", content=text))
    return files


def verbs() -> str:
    """Every verb with its --help."""
    os.environ["COLUMNS"] = "100"
    parts = ["# Verbs", "Every verb of `saescale`, as its `--help` describes it."]
    for name in VERBS:
        parser = getattr(named(name), "parser")()  # noqa: B009
        parts += [f"## {name}", f"```text\n{parser.format_help().rstrip()}\n```"]
    return "\n\n".join(parts) + "\n"


def config_keys() -> str:
    """Every config key with its type, default and meaning, and the groups of configs."""
    parts = [
        "# Config keys",
        "Made from the dataclasses that check every config: `sweeps/config/schema.py` and those that it registers. "
        "An override sets a key, as `train.lr=1e-3`; several values are an axis of the grid, as `sae.k=16,32`.",
    ]
    sections: dict[str, list[str]] = {}
    for key, kind, default, meaning in (*_keys(Config, ""), *_keys(Phase, "phases.NAME.")):
        section = key.partition(".")[0] if "." in key else "the study"
        cells = (f"`{key}`", kind, f"`{default}`" if default else "", meaning.replace("|", "or"))
        sections.setdefault(section, []).append(f"| {' | '.join(cells)} |")
    for section, rows in sections.items():
        parts += [
            f"## {section}",
            "\n".join(["| key | type | default | meaning |", "|---|---|---|---|", *rows]),
        ]
    groups = [f"| `{name}` | {', '.join(map(str, choices))} |" for name, choices in config_groups().items()]
    parts += ["## Groups of configs", "\n".join(["| group | choices |", "|---|---|", *groups])]
    return "\n\n".join(parts) + "\n"


def _keys(cls: Any, prefix: str) -> Iterator[tuple[str, str, str, str]]:
    hints, comments = get_type_hints(cls), _comments(_written(cls))
    for each in fields(cls):
        hint = hints[each.name]
        parts = () if get_origin(hint) is dict else (hint, *get_args(hint))
        below = next((part for part in parts if is_dataclass(part)), None)
        if below is not None:
            yield from _keys(below, f"{prefix}{each.name}.")
        else:
            key = f"{prefix}{each.name}"
            yield key, _type(hint), _default(each), comments.get(each.name) or COLUMNS.get(key, "")


def _written(cls: type) -> type:
    """The class as it is written: the schema opens frozen dataclasses of sae_core under the same name."""
    for module in (sae_config, data_configs):
        if hasattr(module, cls.__name__):
            return getattr(module, cls.__name__)  # type: ignore[no-any-return]
    return cls


def _type(hint: Any) -> str:
    """`int or null`, `dict[str, Phase]`."""
    text = hint.__name__ if isinstance(hint, type) and not get_args(hint) else str(hint)
    return re.sub(r"\b(?:\w+\.)+", "", text).replace(" | None", " or null").replace("[", "\\[")


def _default(one: Field[Any]) -> str:
    """The default as YAML writes it; nothing where a value has to be given or the key is a section."""
    value = one.default
    if value is MISSING or value == "???":
        return ""
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _comments(cls: type) -> dict[str, str]:
    """What the comments above or beside each field of a dataclass say."""
    source = inspect.cleandoc("\n" + inspect.getsource(cls))
    body = ast.parse(source).body[0]
    assert isinstance(body, ast.ClassDef)
    comments = {
        token.start[0]: (token.string.lstrip("# "), token.line.lstrip().startswith("#"))
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    texts: dict[str, str] = {}
    for node in body.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            above = node.lineno - 1
            while comments.get(above, ("", False))[1]:
                above -= 1
            end = node.end_lineno or node.lineno
            texts[node.target.id] = " ".join(
                comments[n][0] for n in range(above + 1, end + 1) if n in comments
            )
    return texts
