"""Which runs may be in one pack, and what it saves that runs of a pack branch off one another.

The plan and the workers, which have no `fit`, decide by the same rules, so that packs are as planned.
"""

from collections.abc import Sequence

from sae_core.config import RunConfig
from sae_core.training.schedule import trunk
from sweeps.config.launcher import Launcher
from sweeps.planning import cost


def joins(pack: Sequence[RunConfig], run: RunConfig, family: Sequence[RunConfig], launcher: Launcher) -> bool:
    """Whether a run may join a pack: there is room for it, and no family is torn apart.

    A family is torn apart where it is divided among more packs than it has to be: its common part is then trained once
    more. So a pack that several runs of a family are in takes no others, among which the next family could begin and
    not end. And a family does not begin behind runs that leave less room than it needs, as the last run of an earlier
    family that was larger than a pack.

    Parameters
    ----------
    pack : not empty.
    run : the run.
    family : the runs in no pack yet that can branch off one another, this one among them.
    launcher : its runs_per_pack and memory_gb are the room.
    """
    if not _has_room(pack, run, launcher):
        return False
    trunks = [trunk(one) for one in pack]
    if trunk(run) in trunks:
        return True
    if len(set(trunks)) < len(trunks):
        return False
    return len(family) < 2 or _pieces(pack, family, launcher) <= _pieces((), family, launcher)


def _pieces(pack: Sequence[RunConfig], family: Sequence[RunConfig], launcher: Launcher) -> int:
    """The number of packs among which a family is divided if it begins in this one."""
    current, pieces, inside = list(pack), 0, False
    for run in family:
        if current and not _has_room(current, run, launcher):
            current, inside = [], False
        pieces += not inside
        current.append(run)
        inside = True
    return pieces


def _has_room(pack: Sequence[RunConfig], run: RunConfig, launcher: Launcher) -> bool:
    if len(pack) >= launcher.runs_per_pack or run.data.fingerprint != pack[0].data.fingerprint:
        return False
    limit = launcher.memory_gb
    return limit is None or cost.pack_bytes([*pack, run], limit) <= limit * cost.GiB


def trained_shares(runs: Sequence[RunConfig], starts: Sequence[int] | None = None) -> list[float]:
    """The share of its budget that each run is trained on itself if these runs are trained together.

    Of runs with the same trunk, the one whose lr is constant for longest is trained on all of its budget, and the
    others branch off it where their constant parts end. starts: the tokens at which each goes on from the state that an
    ended run has kept; None for 0. Runs that start at different tokens share nothing: no constant part of one with
    fewer reaches the start of the other, which it would have taken itself.
    """
    longest: dict[tuple[RunConfig, int], int] = {}
    starts = [0] * len(runs) if starts is None else starts
    keys = [(trunk(run), start) for run, start in zip(runs, starts, strict=True)]
    for index, (key, run) in enumerate(zip(keys, runs, strict=True)):
        if key not in longest or run.train.constant_tokens > runs[longest[key]].train.constant_tokens:
            longest[key] = index
    return [
        1 - (key[1] if longest[key] == index else run.train.constant_tokens) / run.train.budget
        for index, (key, run) in enumerate(zip(keys, runs, strict=True))
    ]
