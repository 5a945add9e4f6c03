"""Processes as /proc shows them: whose they are, what they descend from, and an end to them."""

import os
import signal
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

# A machine that is shared by twelve busy processes took four times as long.
PATIENCE = 5


class ClusterError(RuntimeError):
    """The cluster for tests did not do what it was asked."""


def until(what: str, happened: Callable[[], T | None], timeout_s: float, period_s: float = 0.05) -> T:
    """Ask again and again until the answer is true; returns it.

    A ClusterError after PATIENCE × `timeout_s`, the seconds in which it happens on a machine with little else to do.
    """
    end = time.monotonic() + PATIENCE * timeout_s
    while True:
        answer = happened()
        if answer:
            return answer
        if time.monotonic() > end:
            raise ClusterError(f"Waited {PATIENCE * timeout_s:g} s in vain: {what}.")
        time.sleep(period_s)


def everyone() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def environment(pid: int) -> dict[str, str]:
    """The environment a process was started with; empty if it is dead, a zombie, or another user's."""
    try:
        text = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace")
    except OSError:
        return {}
    return dict(pair.split("=", 1) for pair in text.split("\0") if "=" in pair)


def command(pid: int) -> str:
    """The name of the program, cut to 15 letters."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def descendants(roots: Iterable[int]) -> set[int]:
    """The processes that `roots` started, and those that these started, and so on."""
    children: dict[int, list[int]] = {}
    for pid in everyone():
        try:
            # pid (name) state parent …: the name may have spaces and brackets
            parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        children.setdefault(parent, []).append(pid)
    found: set[int] = set()
    todo = list(roots)
    while todo:
        new = [pid for pid in children.get(todo.pop(), []) if pid not in found]
        found.update(new)
        todo += new
    return found


def send(pids: Iterable[int], what: signal.Signals) -> None:
    for pid in pids:
        try:
            os.kill(pid, what)
        except ProcessLookupError:
            pass
