"""The phases of a study: their order, and the config of one of them, which is the study's with its own differences."""

import copy
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from fit.data.near_names import did_you_mean
from sweeps.config.compose import AXES, DERIVE, PHASES, Overrides, compose, hydra_session, parse, sentences
from sweeps.errors import SweepError
from sweeps.rules.rule import KEYS, REGIME_TEXT, REGIMES, Spec, read_spec

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_STOP = {"ln": "converged", "lc": "budget"}


@dataclass(frozen=True)
class Step:
    """What is planned and launched as one: a phase of the study that the overrides name, or all of a study without.

    composed: the config of the study, which all of its phases share; composing it takes a tenth of a second.
    """

    overrides: tuple[str, ...]
    phase: str | None = None
    composed: DictConfig | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True)
class Earlier:
    """An earlier phase, as far as it has come.

    Parameters
    ----------
    fits : the file with its laws, which need not exist. results : its runs, each with the hash of its result.
    pending : why its laws are not those of all of its runs, as "5 runs more"; None if they are.
    largest : its largest n_latents. laws : those beyond the default ones that its fits were to have.
    """

    phase: str
    fits: Path
    results: Mapping[str, str] = field(default_factory=dict)
    pending: str | None = None
    largest: int = 0
    laws: tuple[str, ...] = ()


@dataclass(frozen=True)
class PhaseConfig:
    """A phase of a config, or a study without phases, which has an empty name.

    config: that of the study, with the differences of the phase. specs: its rules by config key. guesses: what the
    config has for these keys without the rules.
    """

    name: str
    config: DictConfig
    regime: str = ""
    stop: str = ""
    specs: Mapping[str, Spec] = field(default_factory=dict)
    guesses: Mapping[str, Any] = field(default_factory=dict)


def steps(overrides: Sequence[str]) -> list[Step]:
    """The steps of a command line in order: the studies of `study=a,b`, and of each its phases."""
    at = [i for i, text in enumerate(overrides) if text.startswith("study=") and "," in text]
    if not at:
        return _phases_of(tuple(overrides))
    before, after = overrides[: at[-1]], overrides[at[-1] + 1 :]
    names = overrides[at[-1]].removeprefix("study=").split(",")
    return [step for name in names for step in _phases_of((*before, f"study={name}", *after))]


def _phases_of(overrides: tuple[str, ...]) -> list[Step]:
    with hydra_session() as loader:
        line = parse(loader, overrides)
        _check_names(line)
        config = compose(line.fixed)
        order = check_order(config)
    return [Step(overrides, phase, config) for phase in order] or [Step(overrides, None, config)]


def _check_names(line: Overrides) -> None:
    """Raise SweepError if the command line names a phase that the study does not have: it would be a new one."""
    asked = dict.fromkeys(key.split(".")[1] for key in sorted(line.fixed_keys) if key.startswith(PHASES))
    if not asked:
        return
    there = list(
        map(str, compose([text for text in line.fixed if not text.lstrip("+~").startswith(PHASES)]).phases)
    )
    for name in asked:
        if name not in there:
            raise SweepError(
                f"There is no phase {name!r} in this study; there are {', '.join(there) or 'none'}."
                f"{did_you_mean(name, there)}"
            )


def check_order(config: DictConfig) -> list[str]:
    """The names of the phases in order. SweepError for phases that take values in a circle, or from a later one."""
    names = [str(name) for name in config.phases]
    sources: dict[str, list[str]] = {}
    for name in names:
        if not _NAME.fullmatch(name):
            raise SweepError(f"phases.{name}: a phase's name is letters, digits, '_' and '-'.")
        specs = _specs(name, config.phases[name])
        sources[name] = [spec.source for spec in specs.values() if spec.source]
        for spec in specs.values():
            if spec.source is not None and spec.source not in names:
                raise SweepError(
                    f"phases.{name}.{spec.name} is from {spec.source}, which is not a phase of this study; there are "
                    f"{', '.join(names)}.{did_you_mean(spec.source, names)}"
                )
    for name in names:
        if circle := _circle(sources, [name]):
            raise SweepError(f"The phases go in a circle: {' takes from '.join(circle)}.")
    for index, name in enumerate(names):
        for source in sources[name]:
            if source not in names[:index]:
                raise SweepError(
                    f"phases.{name} takes from {source}, which comes after it: put {source} before it."
                )
    return names


def _circle(sources: Mapping[str, Sequence[str]], path: list[str]) -> list[str] | None:
    """The way from a phase back to itself, None if there is none."""
    for source in sources[path[-1]]:
        if source == path[0]:
            return [*path, source]
        if source not in path and (circle := _circle(sources, [*path, source])):
            return circle
    return None


def in_phase(config: DictConfig, name: str, line: Overrides) -> PhaseConfig:
    """The config of a phase: that of the study, changed by the phase, and both by the command line.

    What a phase says of a key replaces what the study's grid says of it, whether as an axis, a derived value or a rule.
    """
    if name not in config.phases:
        raise SweepError(f"There is no phase {name!r}; there are {', '.join(map(str, config.phases))}.")
    phase, config = config.phases[name], copy.deepcopy(config)
    if phase.regime not in REGIMES:
        raise SweepError(
            f"phases.{name}.regime is {phase.regime!r}; it must be {REGIME_TEXT}.", phase.regime, REGIMES
        )
    given = line.fixed_keys | set(line.axes)
    given |= {key.removeprefix(start) for key in given for start in (AXES, DERIVE) if key.startswith(start)}
    specs = {key: spec for key, spec in _specs(name, phase).items() if key not in given}
    axes, derive = (
        {key: value for key, value in flatten(part) if key not in given}
        for part in (phase.grid.axes, phase.grid.derive)
    )
    for short, key in KEYS.items():
        value = phase[short]
        if value is None or key in specs or key in given:
            continue
        if isinstance(value, str):
            derive[key] = value
        elif not OmegaConf.is_dict(value):
            axes[key] = value
    replaced = {*specs, *axes, *derive}
    study_has = dict(flatten(config.grid.axes)) | dict(flatten(config.grid.derive))
    guesses = {key: study_has[key] for key in specs if study_has.get(key) is not None}
    for section, start, own in (("axes", AXES, axes), ("derive", DERIVE, derive)):
        there = written_in(config.grid[section], start, line)
        known = {key: value for key, value in there.items() if key not in replaced}
        known |= {key: value for key, value in own.items() if value is not None}
        OmegaConf.update(config, f"grid.{section}", known, merge=False)
    for part in ("zip", "where"):
        if phase.grid[part]:
            config.grid[part] = phase.grid[part]
    stop = phase.stop or _STOP[phase.regime]
    settings = [(f"sae.{key}", value) for key, value in flatten(phase.sae)]
    settings += [(f"train.{key}", value) for key, value in flatten(phase.train)]
    for key, value in [("train.stop", stop), *settings]:
        if key not in given:
            with sentences(f"phases.{name}"):
                OmegaConf.update(config, key, value)
    return PhaseConfig(name, config, phase.regime, config.train.stop, specs, guesses)


def _specs(name: str, phase: DictConfig) -> dict[str, Spec]:
    """The rules of a phase by config key, in the order in which one may use another's value."""
    found = {}
    for short, key in KEYS.items():
        value = phase[short]
        if OmegaConf.is_dict(value):
            content = OmegaConf.to_container(value, resolve=True)
            assert isinstance(content, dict)
            found[key] = read_spec(name, short, {str(k): v for k, v in content.items()}, phase.regime)
    return found


def written_in(section: DictConfig, start: str, line: Overrides) -> dict[str, Any]:
    """The leaves of grid.axes or grid.derive by config key, those of the command line before those of the config.

    A config may write a key with dots, `train.lr: …`, beside which the command line's is nested: train: {lr: …}.
    start: AXES or DERIVE.
    """
    found = dict(flatten(section))
    for key in sorted(name.removeprefix(start) for name in line.fixed_keys if name.startswith(start)):
        *path, last = key.split(".")
        node: Any = section
        for part in path:
            node = node.get(part) if OmegaConf.is_dict(node) else None
        if OmegaConf.is_dict(node) and last in node:  # it is not where ~grid.derive.train.lr removed it
            found[key] = node[last]
    return found


def flatten(tree: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of a nested mapping with their dotted keys."""
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) or OmegaConf.is_dict(value):
            yield from flatten(value, name + ".")
        else:
            yield name, value
