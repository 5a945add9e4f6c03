"""Composes configs with Hydra's groups and overrides.

This differs from Hydra in two ways: an override with several values makes an axis of a grid instead of a multirun, and
its values can be written as geom(start, stop, ratio).
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Union

import hydra
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser, create_functions
from hydra.core.override_parser.types import ChoiceSweep, Override, QuotedString, Transformer
from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException
from yaml import YAMLError

from fit.data.near_names import did_you_mean
from sweeps.config.keys import config_groups, config_keys
from sweeps.config.schema import Config, conf_dir, register
from sweeps.errors import SweepError

# Hydra checks arguments against typing's Union and does not know int | float.
Number = Union[int, float]  # noqa: UP007


@dataclass(frozen=True)
class Overrides:
    """The overrides of a command line: the fixed ones as text for Hydra, and the values of each swept key."""

    fixed: list[str]
    fixed_keys: frozenset[str]
    axes: dict[str, list[Any]]


AXES, DERIVE = "grid.axes.", "grid.derive."
PHASES = "phases."

# Lines of Hydra's and OmegaConf's messages that do not help here: `+` cannot add a key that the schema does not know.
_NOISE = (
    "See ",
    "full_key",
    "object_type",
    "reference_type",
    "Set the env",
    "Config search path",
    "provider=",
    "To append to your config",
)


@contextmanager
def sentences(what: str = "the config") -> Iterator[None]:
    """Raise Hydra's and OmegaConf's errors inside the block as SweepError, each in one sentence."""
    try:
        yield
    except SweepError:
        raise
    # ValueError: sae=null, sae=3. Hydra lets YAML's own error through, which names file, line and column.
    except (HydraException, OmegaConfBaseException, YAMLError, ValueError) as error:
        raise SweepError(_sentence(error, what)) from error


def _sentence(error: Exception, what: str) -> str:
    """A sentence that says what was wrong, with near names if a key or a choice of a group does not exist."""
    cause = error.__cause__ or error
    key = getattr(error, "full_key", None) or getattr(cause, "full_key", None)
    if key and isinstance(cause, ConfigAttributeError | ConfigKeyError):
        return f"{key} is not a config key.{did_you_mean(key, [*config_keys(), *config_groups()])}"
    if isinstance(error, MissingConfigException) and error.options and error.missing_cfg_file:
        group, _, name = error.missing_cfg_file.rpartition("/")
        return f"There is no {group} {name!r}; there are {', '.join(error.options)}.{did_you_mean(name, error.options)}"
    messages = [str(e) for e in (error, error.__cause__) if e is not None]
    lines = [line.strip() for message in messages for line in message.splitlines()]
    useful = "; ".join(dict.fromkeys(x for x in lines if x not in ("", "None") and not x.startswith(_NOISE)))
    return f"Cannot use {what}: {f'{key}: ' if key and key not in useful else ''}{useful}"


@contextmanager
def hydra_session() -> Iterator[ConfigLoader]:
    """Initialise Hydra with our config folder inside the block."""
    register()
    with sentences(), hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
        yield GlobalHydra.instance().config_loader()


def geom(start: Number, stop: Number, ratio: Number) -> ChoiceSweep:
    """Return start, start·ratio, … up to stop (within a relative 1e-9).

    Examples: geom(256, 4096, 2), geom(1e-4, 1.6e-3, 2).
    """
    if start <= 0 or stop <= 0 or ratio <= 0 or ratio == 1 or (stop > start) != (ratio > 1) and stop != start:
        raise SweepError(
            f"geom({start}, {stop}, {ratio}) never reaches {stop}: give positive numbers, and a ratio above 1 to go up "
            "or below 1 to go down."
        )
    steps = math.floor(math.log(stop / start) / math.log(ratio) + 1e-9)
    values = [start * ratio**i for i in range(steps + 1)]
    whole = isinstance(start, int) and all(float(v).is_integer() for v in values)
    return ChoiceSweep(list=[int(v) for v in values] if whole else [rounded(v) for v in values])


def rounded(value: Any) -> Any:
    """A computed number to 12 significant digits, so that 3*1e-4 and 3e-4 are one run. Whole numbers stay."""
    return float(f"{value:.12g}") if isinstance(value, float) and not value.is_integer() else value


def parse(loader: ConfigLoader, overrides: Sequence[str]) -> Overrides:
    """Split overrides into those with one value and those with several. SweepError for `interval`, which lists none."""
    functions = create_functions()
    functions.register(name="geom", func=geom)
    parser = OverridesParser(functions, loader)
    parsed = []
    for override in overrides:
        with sentences(f"the override {override!r}"):
            parsed.append(parser.parse_override(_spelled_out(override)))
    _refuse_groups_without_plus(parsed)
    last = {_key(o): o for o in parsed}  # as in Hydra, the last override of a key wins
    fixed = {key: o for key, o in last.items() if not o.is_sweep_override()}
    axes = {key.removeprefix(AXES): _values(o) for key, o in last.items() if o.is_sweep_override()}
    return Overrides([_text(o) for o in fixed.values()], frozenset(fixed), axes)


def _refuse_groups_without_plus(overrides: Sequence[Override]) -> None:
    """Raise SweepError for a group that config.yaml chooses nothing from, which Hydra takes after a + only."""
    groups = config_groups()
    for each in overrides:
        name = each.key_or_group
        if f"+{name}" in groups and not each.is_add() and not each.is_force_add():
            raise SweepError(
                f"{name} is not among the groups that every config has: write +{each.input_line}."
            )


def _spelled_out(override: str) -> str:
    """The override as Hydra takes it, where a user may write less: design=true, and a target without inner quotes.

    Hydra would read L(n_latents=131072,k=32) as one of its functions, and alpha,E as a sweep.
    """
    key, equals, value = override.partition("=")
    if key == "design" and equals:
        return f"design.on={value}"
    if key == "design.target" and value not in ("", "null") and value[0] not in "'\"":
        return f'design.target="{value}"'
    return override


def axis_values(loader: ConfigLoader, key: str, value: Any) -> list[Any]:
    """The values of an axis in a config, written as a list, as a string in Hydra's sweep grammar, or as one value."""
    if isinstance(value, list):
        return value
    if isinstance(value, str):
        swept = parse(loader, [f"{key}={value}"]).axes
        return swept[key] if swept else [value]
    return [value]


def compose(overrides: Sequence[str]) -> DictConfig:
    """Compose the config of these overrides inside `hydra_session`. Raises SweepError for keys outside the schema."""
    config = hydra.compose("config", overrides=list(overrides))
    with sentences():  # Hydra lets `+key=…` and YAML files add any key
        OmegaConf.merge(OmegaConf.structured(Config), OmegaConf.to_container(config, resolve=False))
    OmegaConf.resolve(config.grid)
    return config


def config_text(overrides: Sequence[str]) -> str:
    """Return the composed config as YAML, without the overrides that have several values."""
    with hydra_session() as loader:
        line = parse(loader, overrides)
        return OmegaConf.to_yaml(compose(line.fixed), resolve=True).rstrip()


def is_group(loader: ConfigLoader, key: str) -> bool:
    """Return whether the key chooses a config file, like data=…, and does not set a value, like data.shuffle_seed=…"""
    return bool(loader.get_group_options(key))


def _key(override: Override) -> str:
    return override.key_or_group.lstrip("+")


def _text(override: Override) -> str:
    """Return the override as text for Hydra. 1e6 becomes 1000000, which integer keys accept too."""
    value = override.value()
    text = override.input_line or ""
    if isinstance(value, float) and value.is_integer():
        text = f"{override.get_key_element()}={int(value)}"
    # The keys in grid.axes and grid.derive are any config keys, and Hydra sets a new key only after ++.
    return f"++{text}" if text.startswith((AXES, DERIVE, PHASES)) else text


def _values(override: Override) -> list[Any]:
    if not override.is_discrete_sweep():
        raise SweepError(
            f"{override.input_line} has no list of values, which a grid needs: write a,b,c or range(…) or geom(…)."
        )
    values = override.sweep_iterator(transformer=Transformer.identity)
    return [v.text if isinstance(v, QuotedString) else v for v in values]
