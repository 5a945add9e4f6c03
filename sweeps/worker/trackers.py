"""Curves in TensorBoard or W&B while a run trains: a copy, never the source of truth."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from sae_core.config import RunConfig
from sweeps.config.launcher import Launcher
from sweeps.ledger.run_folder import RunFolder

Log = Callable[[dict[str, Any]], None]
Close = Callable[[], None]


class Trackers:
    """The trackers of one run. One that fails prints the error once and is dropped; the run goes on."""

    def __init__(self, folder: RunFolder, config: RunConfig, tokens: int, launcher: Launcher) -> None:
        """tokens: how far the run has come; evaluations logged beyond that, before it was killed, are logged again."""
        self._name = folder.run_id
        self._shown: dict[str, tuple[Log, Close]] = {}
        if launcher.tensorboard:
            self._open("tensorboard", partial(_tensorboard, folder, tokens))
        if launcher.wandb != "off":
            self._open("wandb", partial(_wandb, folder, config, launcher))

    def log(self, row: Mapping[str, Any]) -> None:
        """Log every number of one evaluation that is known, over the tokens."""
        numbers = {k: v for k, v in row.items() if k != "step" and isinstance(v, int | float)}
        for name, (log, _) in list(self._shown.items()):
            self._guard(name, partial(log, numbers))

    def close(self) -> None:
        for name, (_, close) in list(self._shown.items()):
            self._guard(name, close)
        self._shown.clear()

    def _open(self, name: str, opened: Callable[[], tuple[Log, Close]]) -> None:
        self._guard(name, lambda: self._shown.update({name: opened()}))

    def _guard(self, name: str, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception as error:  # an unreachable server or a full disk is no reason to lose a run
            self._shown.pop(name, None)
            print(f"{self._name}: {name} failed and is off for this run: {error}", flush=True)


def _tensorboard(folder: RunFolder, tokens: int) -> tuple[Log, Close]:
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(str(folder.tensorboard_path), purge_step=tokens + 1)

    def log(row: dict[str, Any]) -> None:
        for name, value in row.items():
            if name != "tokens":
                writer.add_scalar(name, value, row["tokens"])
        writer.flush()

    return log, writer.close


def _wandb(folder: RunFolder, config: RunConfig, launcher: Launcher) -> tuple[Log, Close]:
    import wandb

    run = wandb.init(
        project=launcher.wandb_project,
        group=folder.path.parent.name,
        id=folder.run_id,
        name=folder.run_id,
        dir=str(folder.path),
        config=config.as_dict(),
        mode=launcher.wandb,  # type: ignore[arg-type]
        resume="allow",
        reinit="create_new",  # the runs of a pack are open at once
        settings=wandb.Settings(silent=True, console="off", x_disable_stats=True),
    )
    run.define_metric("*", step_metric="tokens")
    return run.log, run.finish
