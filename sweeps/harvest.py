"""Fill an activation store from a language model. `saescale harvest data=smollm2`"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from omegaconf import OmegaConf
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from sae_core.harvest import HarvestConfig
from sae_core.harvest import harvest as fill
from sweeps.compose import compose, hydra_session, parse
from sweeps.errors import SweepError
from sweeps.verbs import verb


def harvest(overrides: Sequence[str]) -> Path:
    """Harvest what `data.harvest` describes into `data.store`; resumes, and returns at once when it is complete."""
    with hydra_session() as loader:
        line = parse(loader, overrides)
        data = OmegaConf.to_container(compose(line.fixed).data, resolve=True)
    assert isinstance(data, dict)
    if line.axes or not data["harvest"] or not data["store"]:
        raise SweepError(
            "Name one data config with `store` and `harvest`, e.g. saescale harvest data=smollm2."
        )
    with _progress(data["harvest"]["tokens"]) as progress:
        return fill(HarvestConfig(**data["harvest"]), Path(data["store"]), progress)


@contextmanager
def _progress(tokens: int) -> Iterator[Callable[[int, int], None]]:
    """A bar on a terminal, a line every tenth of the way elsewhere."""
    console = Console()
    columns = (BarColumn(30), TextColumn("{task.completed:,}/{task.total:,} tokens"), TimeElapsedColumn())
    said = -1
    with Progress(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=tokens)

        def progress(done: int, total: int) -> None:
            nonlocal said
            bar.update(task, completed=done, total=total)
            if not console.is_terminal and 10 * done // total > said:
                said = 10 * done // total
                print(f"{done / total:4.0%}  {done:,} of {total:,} tokens", flush=True)

        yield progress


@verb("harvest")
def main(overrides: Sequence[str]) -> int:
    """Run a language model over text and keep one layer's residual stream in a sharded store.

    saescale harvest data=smollm2

    The same command again goes on where it stopped, and does nothing when the store is complete.
    """
    print(f"wrote {harvest(overrides)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
