"""Makes the cells of a grid: the points of its axes, with derived values and the values of rules."""

import copy
import itertools
import pickle
from collections import ChainMap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from fit.data.conditions import columns_of
from fit.law.errors import FitError
from sweeps.config.compose import Overrides, compose, rounded, sentences
from sweeps.config.data import describe
from sweeps.config.earlier_fit import Fitted
from sweeps.config.expression import compute, holds
from sweeps.config.phases import PhaseConfig, in_phase
from sweeps.config.rule_values import RuleValues
from sweeps.ledger.phase_record import Taken
from sweeps.rules.rule import KEYS, NOT_YET, Spec

# Sections that may differ between the cells of a study; the rest of the config belongs to the study as a whole.
SCIENCE = ("sae", "train", "data", "seed")


@dataclass(frozen=True)
class Cell:
    """One point of the grid: its resolved config, and the values by which it differs from the other points.

    taken: the values that come from laws of earlier phases.
    unrounded: makes the same cell with its computed values as they were before they were rounded; None where they are
    the same.
    """

    config: dict[str, Any]
    varied: dict[str, Any]
    taken: tuple[Taken, ...] = ()
    unrounded: "Callable[[], Cell] | None" = field(default=None, compare=False, repr=False)


def own_config(config: DictConfig, phase: str | None, line: Overrides) -> PhaseConfig:
    """The config of a phase, or of a study without phases."""
    return PhaseConfig("", config) if phase is None else in_phase(config, phase, line)


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


class Builders:
    """Makes cells; the config of each choice of groups is composed once."""

    def __init__(
        self,
        line: Overrides,
        own: PhaseConfig,
        groups: Mapping[str, list[Any]],
        derived: Mapping[str, str],
        values: RuleValues,
    ) -> None:
        self.line, self.phase, self.groups, self.derived, self.values = (
            line,
            own.name,
            groups,
            derived,
            values,
        )
        self.made: dict[tuple[Any, ...], _Builder] = {}
        if not groups:
            self.made[()] = _Builder(own.config, derived, values)

    def cells(
        self, axes: Mapping[str, list[Any]], zips: list[list[str]], where: Sequence[str]
    ) -> tuple[list[Cell], int]:
        """The cells for which the conditions hold, and how many there were before."""
        cells: list[Cell] = []
        seen = 0
        varied = {*self.derived, *(spec.key for spec in self.values.of_cell)}
        for point in _points(axes, zips):
            cell = self._builder(point).cell({k: v for k, v in point.items() if k not in self.groups})
            seen += 1
            names = names_of(cell.config) if where else {}
            if all(holds(text, names) for text in where):
                cells.append(_at(point, varied, cell))
        return cells, seen

    def _builder(self, point: Mapping[str, Any]) -> "_Builder":
        choice = tuple(point[key] for key in self.groups)
        if choice not in self.made:
            choices = [f"{key}={value}" for key, value in zip(self.groups, choice, strict=True)]
            composed = own_config(compose([*self.line.fixed, *choices]), self.phase or None, self.line).config
            self.made[choice] = _Builder(composed, self.derived, self.values)
        return self.made[choice]


def _at(point: Mapping[str, Any], computed: set[str], cell: Cell) -> Cell:
    """The cell with the values of its point, groups among them, and its computed ones as what varies."""
    varied = {**point, **{key: value for key, value in cell.varied.items() if key in computed}}
    make = cell.unrounded
    before = None if make is None else lambda: _at(point, computed, make())
    return replace(cell, varied=varied, unrounded=before)


class _Builder:
    """Makes the cells of one choice of groups by merging dicts; each value is checked against the schema once."""

    def __init__(self, config: DictConfig, derived: Mapping[str, str], values: RuleValues) -> None:
        self.config, self.derived, self.values = config, derived, values
        self.root = Path(config.runs)
        self.interpolated = "${" in OmegaConf.to_yaml(config, resolve=False)
        container = OmegaConf.to_container(config, resolve=True)
        assert isinstance(container, dict)
        # Unpickled for each cell, in a tenth of the time of `copy.deepcopy`.
        self.packed = pickle.dumps({key: container[key] for key in SCIENCE})
        self.typed: dict[tuple[str, Any], Any] = {}
        self.scratch = copy.deepcopy(config)
        self.computed: dict[tuple[str, ...], Any] = {}

    def cell(self, values: dict[str, Any], rounding: bool = True) -> Cell:
        """The cell at these values of the axes.

        A derived value can be used only by those after it: a size from a rule first, then those that the grid derives
        in their order, then the other rules.
        """
        config = self._merged(values)
        names = names_of(config)
        sizes = [spec for spec in self.values.of_cell if spec.key == KEYS["n_latents"]]
        others = [spec for spec in self.values.of_cell if spec not in sizes]
        later = [key.split(".")[-1] for key in (*self.derived, *(spec.key for spec in self.values.of_cell))]
        for name in later:
            names.pop(name, None)
        # An expression cannot use what is derived after it; a law must know that there is more to know of the cell.
        known = ChainMap(names, dict.fromkeys(later, NOT_YET))
        fitted = Fitted(self.root, known, self.values.waiting)
        computed: dict[str, Any] = {}
        taken: list[Taken] = []

        changed = False

        def put(key: str, value: Any) -> None:
            nonlocal changed
            kept = rounded(value) if rounding else value
            changed |= kept != value
            computed[key] = names[key.split(".")[-1]] = self._typed(key, kept)
            _set(config, key, computed[key])

        for spec in sizes:
            self._by_rule(spec, known, put, taken)
        for key, text in self.derived.items():
            put(key, self._computed(text, names, fitted))
            taken += [replace(one, key=key) for one in fitted.taken]
            fitted.taken.clear()
        for spec in others:
            self._by_rule(spec, known, put, taken)
        unrounded = partial(self.cell, values, rounding=False) if changed else None
        return Cell(config, values | computed, tuple(taken), unrounded)

    def _computed(self, text: str, names: Mapping[str, Any], fitted: Fitted) -> Any:
        """The value of an expression; the cells of a large grid have few different values of the columns in it."""
        if "fitted" in text:  # which may look at any column
            return compute(text, names, {"fitted": fitted})
        try:
            used = tuple(repr(names.get(column, "")) for column in sorted(columns_of(text)))
        except FitError:
            return compute(text, names, {"fitted": fitted})  # which says what is wrong
        memo = (text, *used)
        if memo not in self.computed:
            self.computed[memo] = compute(text, names, {"fitted": fitted})
        return self.computed[memo]

    def _by_rule(
        self, spec: Spec, names: Mapping[str, Any], put: Callable[[str, Any], None], taken: list[Taken]
    ) -> None:
        given = self.values.at(spec, names)
        put(spec.key, given.value)
        if given.taken is not None:
            taken.append(given.taken)

    def _merged(self, values: dict[str, Any]) -> dict[str, Any]:
        if self.interpolated:  # ${…} has to see the cell's values: merge in OmegaConf, 5 ms per cell
            merged = copy.deepcopy(self.config)
            for key, value in values.items():
                _update(merged, key, value)
            container = OmegaConf.to_container(merged, resolve=True)
            assert isinstance(container, dict)
            return {key: container[key] for key in SCIENCE}
        config: dict[str, Any] = pickle.loads(self.packed)
        for key, value in values.items():
            _set(config, key, self._typed(key, value))
        return config

    def _typed(self, key: str, value: Any) -> Any:
        """The value converted to the type that the schema has for this key."""
        memo = (key, repr(value))
        if memo not in self.typed:
            # Without interpolations a value does not depend on the others, so that one copy serves all of them.
            scratch = copy.deepcopy(self.config) if self.interpolated else self.scratch
            _update(scratch, key, value)
            typed = OmegaConf.select(scratch, key)
            self.typed[memo] = (
                OmegaConf.to_container(typed, resolve=True) if OmegaConf.is_config(typed) else typed
            )
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
