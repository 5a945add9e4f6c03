"""Expands a config into the cells of its grid: the product of the axes, zipped axes, derived values, conditions."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from hydra.core.config_loader import ConfigLoader
from omegaconf import DictConfig, OmegaConf

from fit.data.near_names import did_you_mean
from sweeps.config.cells import SCIENCE, Builders, Cell, own_config
from sweeps.config.compose import (
    AXES,
    DERIVE,
    Overrides,
    axis_values,
    compose,
    hydra_session,
    is_group,
    parse,
    sentences,
)
from sweeps.config.launcher import Launcher
from sweeps.config.phases import Earlier, written_in
from sweeps.config.rule_values import Given, RuleValues
from sweeps.errors import SweepError
from sweeps.ledger.phase_record import PhaseFolder, Taken
from sweeps.ledger.run_folder import Study
from sweeps.rules.rule import KEYS, Spec

# The worker-hours of a cell; None if they are not known. They depend on the launcher, and on what the study measured.
HoursOf = Callable[[Cell], float | None]
Costing = Callable[[Launcher, Path], HoursOf]


def _no_costs(_: Launcher, __: Path) -> HoursOf:
    return lambda cell: None


@dataclass(frozen=True)
class Expansion:
    """The grid of a study, or of one of its phases: its cells, and the settings that they were made from."""

    name: str  # name of the study
    runs: Path  # folder of all studies
    launcher: Launcher
    gpu_hours: float | None  # budget; None: no limit
    cells: list[Cell]
    axes: dict[str, list[Any]]
    zips: list[list[str]]  # axes that step together
    derived: dict[str, str]  # config key: its expression, or the text of its rule
    dropped: int  # number of cells that `grid.where` left out
    # Studies and laws that are not fitted yet and were replaced by a guess; see `sweeps.config.earlier_fit`.
    waiting: frozenset[str] = frozenset()
    price: float | None = None  # of a worker-hour
    phase: str | None = None
    regime: str = ""
    stop: str = ""
    specs: dict[str, Spec] = field(default_factory=dict)  # config key: its rule
    inputs: dict[str, dict[str, str]] = field(default_factory=dict)  # phase: its runs, with hashes of results
    sizes: Taken | None = None  # the values of a rule that chose an axis

    @property
    def taken(self) -> list[Taken]:
        """Every value that comes from an earlier phase, once."""
        every = [*([self.sizes] if self.sizes else []), *(one for cell in self.cells for one in cell.taken)]
        return list({(one.key, one.rule, *one.at.items()): one for one in every}.values())


def expand(
    overrides: Sequence[str],
    phase: str | None = None,
    earlier: Mapping[str, Earlier] = MappingProxyType({}),
    costing: Costing = _no_costs,
    composed: DictConfig | None = None,
) -> Expansion:
    """Return all cells of the study that the overrides describe, in Hydra's grammar.

    A value on the command line takes precedence over the config: `sae.k=8` replaces an axis or a derived value of this
    key. The config is composed once for each choice of groups (70 ms each); all other values are merged into it (well
    under 1 ms per cell).

    Parameters
    ----------
    overrides : the study and its overrides.
    phase : the phase of the study, None for a study without phases.
    earlier : the phases before it, by name.
    costing : what a cell costs, for rules that spend hours; given the launcher and the folder of the study.
    composed : the config of the overrides, where it is known already.

    Raises
    ------
    SweepError
        For anything in the config that no run can have.
    """
    with hydra_session() as loader:
        line = parse(loader, overrides)
        own = own_config(compose(line.fixed) if composed is None else composed, phase, line)
        first = own.config
        axes = _axes(loader, first, line)
        derived = _derived(first, line, axes)
        record = PhaseFolder(Study(Path(first.runs) / first.name), phase).record() if phase else None
        values = RuleValues(own.name, own.specs, own.guesses, earlier, record, set())
        groups = {key: axis for key, axis in axes.items() if is_group(loader, key)}
        builders = Builders(line, own, groups, derived, values)
        where = list(first.grid.where)
        with sentences():
            launcher = OmegaConf.to_object(first.launcher)
        assert isinstance(launcher, Launcher)
        sizes = None
        for spec in values.of_axis:
            hours_of = costing(launcher, Path(first.runs) / first.name)
            chosen = _sizes(spec, values, builders, axes, _zips(first, line, axes), where, hours_of)
            listed = list(chosen.value) if isinstance(chosen.value, tuple) else chosen.value
            sizes, axes = chosen.taken, {spec.key: axis_values(loader, spec.key, listed), **axes}
        zips = _zips(first, line, axes)
        cells, seen = builders.cells(axes, zips, where)
        return Expansion(
            name=first.name,
            runs=Path(first.runs),
            launcher=launcher,
            gpu_hours=hours_allowed(first.budget),
            cells=cells,
            axes=axes,
            zips=zips,
            derived=derived | {key: spec.text for key, spec in own.specs.items()},
            dropped=seen - len(cells),
            waiting=frozenset(values.waiting),
            price=first.budget.per_gpu_hour,
            phase=phase,
            regime=own.regime,
            stop=own.stop,
            specs=dict(own.specs),
            inputs=values.inputs,
            sizes=sizes,
        )


def hours_allowed(budget: DictConfig) -> float | None:
    """The worker-hours of a budget in hours, in money or in both; None without a limit."""
    given = {"gpu_hours": budget.gpu_hours, "money": budget.money, "per_gpu_hour": budget.per_gpu_hour}
    for name, value in given.items():
        if value is not None and not value > 0:
            raise SweepError(f"budget.{name} is {value:g}; it must be above 0.")
    if budget.money is None:
        return budget.gpu_hours
    if budget.per_gpu_hour is None:
        raise SweepError(
            f"budget.money is {budget.money:g}, and what an hour costs is not known: give budget.per_gpu_hour."
        )
    hours = budget.money / budget.per_gpu_hour
    return hours if budget.gpu_hours is None else min(hours, budget.gpu_hours)


def _sizes(
    spec: Spec,
    values: RuleValues,
    builders: "Builders",
    axes: Mapping[str, list[Any]],
    zips: list[list[str]],
    where: list[str],
    hours_of: HoursOf,
) -> Given:
    """The values of a rule that chooses an axis by what its cells cost."""

    def hours_at(size: int) -> tuple[float, float, float]:
        total = [0.0, 0.0, 0.0]
        for cell in builders.cells({spec.key: [size], **axes}, zips, where)[0]:
            hours = hours_of(cell) or 0.0
            tokens = next((one for one in cell.taken if one.key == KEYS["tokens"]), None)
            ends = [1.0, 1.0, 1.0]
            if tokens is not None:  # hours are in proportion to tokens, whose interval the rule knows
                ends = [
                    1.0 if end is None else end / tokens.value  # type: ignore[operator]
                    for end in (tokens.value, tokens.low, tokens.high)
                ]
            total = [before + hours * end for before, end in zip(total, ends, strict=True)]
        return total[0], total[1], total[2]

    trial = spec.options["start"] or max((one.largest for one in values.earlier.values()), default=0)
    cells = builders.cells({spec.key: [trial], **axes}, zips, [])[0] if trial else []
    known = any(hours_of(cell) is not None for cell in cells)
    return values.sizes(spec, hours_at, known)


def _axes(loader: ConfigLoader, config: DictConfig, line: Overrides) -> dict[str, list[Any]]:
    """The axes of the config and of the command line, without keys that the command line fixes."""
    axes = {
        str(key): axis_values(
            loader, str(key), OmegaConf.to_object(value) if OmegaConf.is_config(value) else value
        )
        for key, value in written_in(config.grid.axes, AXES, line).items()
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

    The command line's expressions, `grid.derive.train.lr=…`, replace those of the config, and null there removes one.
    Keys that the command line fixes or sweeps are not derived.
    """
    given = line.fixed_keys | set(line.axes)
    written = written_in(config.grid.derive, DERIVE, line)
    derived = {key: str(t) for key, t in written.items() if t is not None and key not in given}
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
