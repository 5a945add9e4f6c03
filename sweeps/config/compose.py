"""Hydra's config groups and override grammar, plus sweeps without multirun and geom(start, stop, ratio)."""

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
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from sweeps.config.schema import Config, conf_dir, register
from sweeps.errors import SweepError

# Hydra checks arguments against typing's Union and does not know int | float.
Number = Union[int, float]  # noqa: UP007


@dataclass(frozen=True)
class Overrides:
    """A command line, split: what is fixed (as text, for Hydra), and which keys are swept over which values."""

    fixed: list[str]
    fixed_keys: frozenset[str]
    axes: dict[str, list[Any]]


_NOISE = (
    "See ",
    "full_key",
    "object_type",
    "reference_type",
    "Set the env",
    "Config search path",
    "provider=",
)


@contextmanager
def sentences(what: str = "the config") -> Iterator[None]:
    """Hydra's and OmegaConf's errors as one sentence: the lines that say something, without links and key dumps."""
    try:
        yield
    except SweepError:
        raise
    except (HydraException, OmegaConfBaseException, ValueError) as error:  # ValueError: sae=null, sae=3
        chain = [str(e) for e in (error, error.__cause__) if e is not None]
        lines = [line.strip() for text in chain for line in text.splitlines()]
        useful = [x for x in lines if x not in ("", "None") and not x.startswith(_NOISE)]
        key = getattr(error, "full_key", None) or getattr(error.__cause__, "full_key", None)
        said = "; ".join(dict.fromkeys(useful))
        raise SweepError(
            f"Cannot use {what}: {f'{key}: ' if key and key not in said else ''}{said}"
        ) from error


@contextmanager
def hydra_session() -> Iterator[ConfigLoader]:
    """Hydra, initialised on our config folder for the length of the block."""
    register()
    with sentences(), hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
        yield GlobalHydra.instance().config_loader()


def geom(start: Number, stop: Number, ratio: Number) -> ChoiceSweep:
    """start, start·ratio, … up to stop (within 1e-9 of it): geom(256, 4096, 2), geom(1e-4, 1.6e-3, 2)."""
    if start <= 0 or stop <= 0 or ratio <= 0 or ratio == 1 or (stop > start) != (ratio > 1) and stop != start:
        raise SweepError(f"geom({start}, {stop}, {ratio}) does not lead from {start} to {stop}.")
    steps = math.floor(math.log(stop / start) / math.log(ratio) + 1e-9)
    values = [start * ratio**i for i in range(steps + 1)]
    whole = isinstance(start, int) and all(float(v).is_integer() for v in values)
    return ChoiceSweep(list=[int(v) for v in values] if whole else [float(f"{v:.12g}") for v in values])


def parse(loader: ConfigLoader, overrides: Sequence[str]) -> Overrides:
    """Split overrides into fixed ones and swept ones. Sweeps are discrete: `interval` is refused."""
    functions = create_functions()
    functions.register(name="geom", func=geom)
    parser = OverridesParser(functions, loader)
    parsed = []
    for override in overrides:
        with sentences(f"the override {override!r}"):
            parsed.append(parser.parse_override(override))
    last = {_key(o): o for o in parsed}  # as in Hydra, the last of several wins
    fixed = {key: o for key, o in last.items() if not o.is_sweep_override()}
    axes = {key: _values(o) for key, o in last.items() if o.is_sweep_override()}
    return Overrides([_text(o) for o in fixed.values()], frozenset(fixed), axes)


def axis_values(loader: ConfigLoader, key: str, value: Any) -> list[Any]:
    """The values of an axis written in a config: a list, or a string in Hydra's sweep grammar, or one value."""
    if isinstance(value, list):
        return value
    if isinstance(value, str):
        swept = parse(loader, [f"{key}={value}"]).axes
        return swept[key] if swept else [value]
    return [value]


def compose(overrides: Sequence[str]) -> DictConfig:
    """One resolved choice of groups. Call inside `hydra_session`. SweepError for keys that the schema does not know."""
    config = hydra.compose("config", overrides=list(overrides))
    with sentences():  # Hydra lets `+key=…` and YAML files add any key
        OmegaConf.merge(OmegaConf.structured(Config), OmegaConf.to_container(config, resolve=False))
    OmegaConf.resolve(config.grid)
    return config


def config_text(overrides: Sequence[str]) -> str:
    """The composed config as YAML, the axes that the overrides sweep left out."""
    with hydra_session() as loader:
        line = parse(loader, overrides)
        return OmegaConf.to_yaml(compose(line.fixed), resolve=True).rstrip()


def is_group(loader: ConfigLoader, key: str) -> bool:
    """Whether the key chooses a config file (data=…) and not a value (data.shuffle_seed=…)."""
    return bool(loader.get_group_options(key))


def _key(override: Override) -> str:
    return override.key_or_group.lstrip("+")


def _text(override: Override) -> str:
    """The override for Hydra; a whole number written as 1e6 becomes 1000000, which an integer key takes as well."""
    value = override.value()
    if isinstance(value, float) and value.is_integer():
        return f"{override.get_key_element()}={int(value)}"
    return override.input_line or ""


def _values(override: Override) -> list[Any]:
    if not override.is_discrete_sweep():
        raise SweepError(
            f"{override.input_line}: a grid needs listed values; use a,b,c or range(…) or geom(…)."
        )
    values = override.sweep_iterator(transformer=Transformer.identity)
    return [v.text if isinstance(v, QuotedString) else v for v in values]
