"""What a run of the suite cost: its slowest tests, what failed in any leg, and wall and CPU seconds as its last line.

CPU seconds are those of every process: the workers of pytest-xdist, and the children that a test waited for. Daemons
whose parent has died, as a SLURM cluster's, are not counted. `make test` runs pytest once for each leg: legs that name
the same file in SAESCALE_TEST_COSTS write their costs there, and `python -m tests.cost FILE` prints the sum.
"""

import fcntl
import json
import os
import resource
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

STARTED = time.time()
SHOWN = 15


def cpu_seconds() -> float:
    """Of this process and of the children that it has waited for."""
    usage = [resource.getrusage(of) for of in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in usage)


class Costs:
    """The controller collects; a worker of pytest-xdist measures and reports."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.before = cpu_seconds()
        self.tests: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])  # node id: [CPU s, wall s]
        self.failed: dict[str, str] = {}  # node id: the first line of the error
        self.workers = 0.0  # CPU s

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Iterator[None]:
        """A phase's CPU seconds travel in its report; a fixture's count for the test that asked for it first."""
        outcome: Any = yield
        now = cpu_seconds()
        outcome.get_result().cpu_s, self.before = now - self.before, now

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        cost = self.tests[report.nodeid]
        cost[0] += getattr(report, "cpu_s", 0.0)
        cost[1] += report.duration
        if report.failed:
            crash = getattr(report.longrepr, "reprcrash", None)
            self.failed[report.nodeid] = (
                str(crash.message if crash else report.longrepr).strip().split("\n")[0][:200]
            )

    def pytest_sessionfinish(self) -> None:
        if hasattr(self.config, "workeroutput"):
            self.config.workeroutput["cpu_s"] = cpu_seconds()

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        self.workers += getattr(node, "workeroutput", {}).get("cpu_s", 0.0)

    def pytest_unconfigure(self) -> None:
        """After pytest's own summary, so that the last line is the last."""
        reporter: Any = self.config.pluginmanager.get_plugin("terminalreporter")
        if reporter is None or not self.tests or hasattr(self.config, "workeroutput"):
            return
        own = resource.getrusage(resource.RUSAGE_SELF) if self.workers else None
        cpu = cpu_seconds() if own is None else self.workers + own.ru_utime + own.ru_stime
        costs = {"started": STARTED, "cpu_s": cpu, "tests": dict(self.tests), "failed": self.failed}
        if path := os.environ.get("SAESCALE_TEST_COSTS"):
            add(Path(path), costs)
        else:
            show(costs, reporter.write_line)


def add(path: Path, costs: dict[str, Any]) -> None:
    """Add these costs to those of the legs that have ended before; legs may run at the same time."""
    with path.open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        if text := file.read():
            earlier = json.loads(text)
            costs = {
                "started": min(earlier["started"], costs["started"]),
                "cpu_s": earlier["cpu_s"] + costs["cpu_s"],
                "tests": earlier["tests"] | costs["tests"],
                "failed": earlier["failed"] | costs["failed"],
            }
        file.truncate(0)
        file.write(json.dumps(costs))


def show(costs: dict[str, Any], line: Callable[[str], None]) -> None:
    """Give `line` the slowest tests, what failed, and the total as the last line."""
    slowest = sorted(costs["tests"].items(), key=lambda item: -item[1][0])[:SHOWN]
    line("")
    line(f"The slowest {len(slowest)} tests:   CPU s  wall s")
    for name, (cpu_s, wall_s) in slowest:
        line(f"{cpu_s:30.1f} {wall_s:7.1f}  {name}")
    for name, error in costs["failed"].items():
        line(f"FAILED {name}: {error}")
    wall, count = time.time() - costs["started"], len(costs["tests"])
    line(f"{count:,} tests: {wall:,.0f} s of wall, {costs['cpu_s']:,.0f} CPU s in all processes")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Costs(config), "saescale-costs")


if __name__ == "__main__" and (total := Path(sys.argv[1]).read_text()):
    show(json.loads(total), print)
