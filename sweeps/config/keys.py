"""The config's keys and groups as names, for completion and for suggestions where one is mistyped."""

from dataclasses import is_dataclass
from typing import Any, get_args, get_origin, get_type_hints

import yaml

from sweeps.config.schema import Config, conf_dir


def config_keys(cls: Any = Config, prefix: str = "") -> dict[str, Any]:
    """Every key that takes a value, dotted, with its type: `sae.k`, `launcher.slurm.partition` …"""
    keys: dict[str, Any] = {}
    for name, hint in get_type_hints(cls).items():
        parts = (
            () if get_origin(hint) is dict else (hint, *get_args(hint))
        )  # a dict's keys are the user's own
        below = next((each for each in parts if is_dataclass(each)), None)
        keys |= {prefix + name: hint} if below is None else config_keys(below, f"{prefix}{name}.")
    return keys


def config_groups() -> dict[str, list[str]]:
    """Every config group as an override names it, with its choices: `study`, `data`, and `+experiment`.

    A group that config.yaml does not choose from is added with a +, as in Hydra.
    """
    folder = conf_dir()
    defaults = yaml.safe_load((folder / "config.yaml").read_text("utf-8"))["defaults"]
    chosen = {name for each in defaults if isinstance(each, dict) for name in each}
    groups = {path.name: sorted(file.stem for file in path.glob("*.yaml")) for path in folder.iterdir()}
    return {
        (name if name in chosen else f"+{name}"): choices
        for name, choices in sorted(groups.items())
        if choices
    }
