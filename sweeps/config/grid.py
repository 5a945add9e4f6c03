"""Expands a config into the cells of its grid: the product of the axes, zipped axes, derived values, conditions."""

import copy
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.config_loader import ConfigLoader
from omegaconf import DictConfig, OmegaConf

from fit.data.near_names import did_you_mean
from sweeps.config.compose import Overrides, axis_values, compose, hydra_session, is_group, parse, sentences
from sweeps.config.data import describe
from sweeps.config.earlier_fit import Fitted
from sweeps.config.expression import compute, holds
from sweeps.config.launcher import Launcher
from sweeps.errors import SweepError

# Sections that may differ between the cells of a study; the rest of the config belongs to the study as a whole.
SCIENCE = ("sae", "train", "data", "seed")


@dataclass(frozen=True)
class Cell:
    """One point of the grid: its resolved config, and the values by which it differs from the other points."""

    config: dict[str, Any]
    varied: dict[str, Any]


@dataclass(frozen=True)
class Expansion:
    """The grid of a study: its cells, and the settings that they were made from."""

    name: str  # name of the study
    runs: Path  # folder of all studies
    launcher: Launcher
    gpu_hours: float | None  # budget; None: no limit
    cells: list[Cell]
    axes: dict[str, list[Any]]
    zips: list[list[str]]  # axes that step together
    derived: dict[str, str]  # config key: its expression
    dropped: int  # number of cells that `grid.where` left out
    # Studies and laws that are not fitted yet and were replaced by a guess; see `sweeps.config.earlier_fit`.
    waiting: frozenset[str] = frozenset()


def expand(overrides: Sequence[str]) -> Expansion:
    """Return all cells of the study that the overrides describe, in Hydra's grammar.

    A value on the command line takes precedence over the config: `sae.k=8` replaces an axis or a derived value of this
    key. The config is composed once for each choice of groups (70 ms each); all other values are merged into it (well
    under 1 ms per cell).
    """
    with hydra_session() as loader:
        line = parse(loader, overrides)
        first = compose(line.fixed)
        axes = _axes(loader, first, line)
        derived = _derived(first, line, axes)
        zips = _zips(first, line, axes)
        cells: list[Cell] = []
        waiting: set[str] = set()
        seen = 0
        groups = {key: values for key, values in axes.items() if is_group(loader, key)}
        points = _points(axes, zips)
        builders: dict[tuple[Any, ...], _Builder] = {}
        for point in points:
            choice = tuple(point[key] for key in groups)
            if choice not in builders:
                choices = [f"{key}={value}" for key, value in zip(groups, choice, strict=True)]
                builders[choice] = _Builder(compose([*line.fixed, *choices]), derived, waiting)
            cell = builders[choice].cell({k: v for k, v in point.items() if k not in groups})
            seen += 1
            names = names_of(cell.config)
            if all(holds(text, names) for text in first.grid.where):
                cells.append(Cell(cell.config, point | {k: cell.varied[k] for k in derived}))
        with sentences():
            launcher = OmegaConf.to_object(first.launcher)
        assert isinstance(launcher, Launcher)
        return Expansion(
            name=first.name,
            runs=Path(first.runs),
            launcher=launcher,
            gpu_hours=first.budget.gpu_hours,
            cells=cells,
            axes=axes,
            zips=zips,
            derived=derived,
            dropped=seen - len(cells),
            waiting=frozenset(waiting),
        )


def _axes(loader: ConfigLoader, config: DictConfig, line: Overrides) -> dict[str, list[Any]]:
    """The axes of the config and of the command line, without keys that the command line fixes."""
    axes = {
        str(key): axis_values(
            loader, str(key), OmegaConf.to_object(value) if OmegaConf.is_config(value) else value
        )
        for key, value in _flatten(config.grid.axes)
        if key not in line.fixed_keys
    }
    axes |= line.axes
    for key, values in axes.items():
        if key.split(".")[0] not in SCIENCE:
            raise SweepError(
                f"{key} cannot be an axis: only {', '.join(SCIENCE)} and the keys in them may differ between runs."
            )
        if not values:
            raise SweepError(f"The axis {key} has no values.")
    return axes


def _derived(config: DictConfig, line: Overrides, axes: Mapping[str, list[Any]]) -> dict[str, str]:
    """The expression of each derived value, by key.

    null on the command line removes an expression of the config. Keys that the command line fixes or sweeps are not
    derived.
    """
    given = line.fixed_keys | set(line.axes)
    written = {key: text for key, text in _flatten(config.grid.derive) if text is not None}
    derived = {key: str(text) for key, text in written.items() if key not in given}
    for key in derived:
        if key in axes:
            raise SweepError(f"{key} is both an axis of the grid and a derived value: remove one of them.")
    return derived


def _zips(config: DictConfig, line: Overrides, axes: Mapping[str, list[Any]]) -> list[list[str]]:
    """The groups of axes that step together, without keys that the command line fixes."""
    zips = [[key for key in group if key not in line.fixed_keys] for group in config.grid.zip]
    named = [key for group in zips for key in group]
    for key in named:
        if key not in axes:
            raise SweepError(
                f"grid.zip names {key}, which is not an axis of this grid.{did_you_mean(key, axes)}"
            )
        if named.count(key) > 1:
            raise SweepError(f"grid.zip names {key} twice; an axis can be in one group only.")
    for group in zips:
        lengths = {key: len(axes[key]) for key in group}
        if len(set(lengths.values())) > 1:
            raise SweepError(f"grid.zip needs axes of one length; these have the lengths {lengths}.")
    return [group for group in zips if group]


def _points(axes: Mapping[str, list[Any]], zips: list[list[str]]) -> Iterator[dict[str, Any]]:
    """The product of the axes, where each group of zipped axes counts as one axis."""
    zipped = {key for group in zips for key in group}
    blocks = [
        [dict(zip(group, row, strict=True)) for row in zip(*(axes[k] for k in group), strict=True)]
        for group in zips
    ]
    blocks += [[{key: value} for value in values] for key, values in axes.items() if key not in zipped]
    for parts in itertools.product(*blocks):
        merged = {key: value for part in parts for key, value in part.items()}
        yield {key: merged[key] for key in axes}


class _Builder:
    """Makes the cells of one choice of groups by merging dicts; each value is checked against the schema once."""

    def __init__(self, config: DictConfig, derived: Mapping[str, str], waiting: set[str]) -> None:
        self.config, self.derived, self.waiting = config, derived, waiting
        self.root = Path(config.runs)
        self.interpolated = "${" in OmegaConf.to_yaml(config, resolve=False)
        container = OmegaConf.to_container(config, resolve=True)
        assert isinstance(container, dict)
        self.base = {key: container[key] for key in SCIENCE}
        self.typed: dict[tuple[str, Any], Any] = {}

    def cell(self, values: dict[str, Any]) -> Cell:
        config = self._merged(values)
        names = names_of(config)
        for key in self.derived:  # a derived value can be used only by those written after it
            names.pop(key.split(".")[-1], None)
        computed = {}
        known = {"fitted": Fitted(self.root, names, self.waiting)}
        for key, text in self.derived.items():
            computed[key] = names[key.split(".")[-1]] = self._typed(key, compute(text, names, known))
            _set(config, key, computed[key])
        return Cell(config, values | computed)

    def _merged(self, values: dict[str, Any]) -> dict[str, Any]:
        if self.interpolated:  # ${…} has to see the cell's values: merge in OmegaConf, 5 ms per cell
            merged = copy.deepcopy(self.config)
            for key, value in values.items():
                _update(merged, key, value)
            container = OmegaConf.to_container(merged, resolve=True)
            assert isinstance(container, dict)
            return {key: container[key] for key in SCIENCE}
        config = copy.deepcopy(self.base)
        for key, value in values.items():
            _set(config, key, self._typed(key, value))
        return config

    def _typed(self, key: str, value: Any) -> Any:
        """The value converted to the type that the schema has for this key."""
        memo = (key, repr(value))
        if memo not in self.typed:
            scratch = copy.deepcopy(self.config)
            _update(scratch, key, value)
            self.typed[memo] = OmegaConf.to_container(scratch, resolve=True)
            for part in key.split("."):
                self.typed[memo] = self.typed[memo][part]
        return self.typed[memo]


def names_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """The columns that expressions can use: the keys of sae and train, seed, shuffle_seed, d_model and data."""
    data = config["data"]
    return (
        config["sae"]
        | config["train"]
        | {
            "seed": config["seed"],
            "d_model": describe(data).d_model,
            "shuffle_seed": data["shuffle_seed"],
            "data": data["name"],
        }
    )


def _update(config: DictConfig, key: str, value: Any) -> None:
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # integer keys refuse a 2.0 from an expression; float keys convert it back
    with sentences():
        OmegaConf.update(config, key, value)


def _set(config: dict[str, Any], key: str, value: Any) -> None:
    *path, last = key.split(".")
    for part in path:
        config = config[part]
    config[last] = value


def _flatten(tree: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of a nested mapping with their dotted keys."""
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) or OmegaConf.is_dict(value):
            yield from _flatten(value, name + ".")
        else:
            yield name, value
