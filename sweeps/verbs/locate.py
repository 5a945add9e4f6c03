"""Which study a verb means: the folder runs/demo, or the overrides that name it (study=demo)."""

from collections.abc import Sequence
from pathlib import Path

from sweeps.config.compose import compose, hydra_session, parse
from sweeps.errors import SweepError
from sweeps.ledger.run_folder import Study, open_study


def find_study(arguments: Sequence[str]) -> Study:
    """The one existing study that the arguments name."""
    paths = [a for a in arguments if "=" not in a]
    if len(paths) == 1 and len(arguments) == 1:
        return open_study(Path(paths[0]))
    if paths or not arguments:
        raise SweepError("Name one study: its folder, as in runs/demo, or its config, as in study=demo.")
    with hydra_session() as loader:
        line = parse(loader, arguments)
        if line.axes:
            raise SweepError(f"{next(iter(line.axes))} has several values here: name one study.")
        config = compose(line.fixed)
        return open_study(Path(config.runs) / config.name)
