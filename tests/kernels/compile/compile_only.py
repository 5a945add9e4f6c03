"""Compile what a launcher would launch on an NVIDIA GPU, on a machine without one, and count what the compiler made.

A stub driver names the architecture and every launch becomes a warm-up: same specialisation, nothing runs.
"""

import contextlib
import os
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.runtime import driver
from triton.runtime.jit import JITFunction

TOOLS = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"
HAS_TOOLS = all((TOOLS / tool).exists() for tool in ("ptxas", "cuobjdump", "nvdisasm"))
NEEDS_COMPILER = [  # the pytestmark of every module of the compile leg
    pytest.mark.skipif(not HAS_TOOLS, reason="this Triton carries no ptxas, cuobjdump and nvdisasm"),
    pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") == "1", reason="this process interprets kernels"),
    pytest.mark.usefixtures("compiler_cache"),
]
SLOW = pytest.mark.slow
ARCHES = [pytest.param(80, marks=SLOW), 90]


class StubDriver:
    """Answers what Triton asks of a driver before it launches."""

    def __init__(self, arch: int):
        self.target = GPUTarget("cuda", arch, 32)

    def get_current_target(self) -> GPUTarget:
        return self.target

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int = 0) -> int:
        return 0

    def get_active_torch_device(self) -> torch.device:
        return torch.device("cpu")


@contextlib.contextmanager
def compile_only(arch: int) -> Iterator[list]:
    """Inside, launches compile for sm_`arch` and append their compiled kernel to the list."""
    compiled, touched = [], {}
    run, active = JITFunction.run, driver._active

    def warm_up(self, *args, grid, warmup, **kwargs):
        if self not in touched:
            touched[self] = None
            self.device_caches.clear()  # it keeps the target it saw first
        compiled.append(run(self, *args, grid=grid, warmup=True, **kwargs))
        return compiled[-1]

    driver.set_active(StubDriver(arch))
    JITFunction.run = warm_up
    try:
        yield compiled
    finally:
        JITFunction.run = run
        driver._active = active
        for function in touched:
            function.device_caches.clear()


@dataclass(frozen=True)
class Resources:
    """What a kernel costs, a thread where not said otherwise, from its cubin."""

    registers: int
    stack: int  # bytes
    local: int  # bytes
    shared: int  # bytes a program asks for; sm_90 keeps 1 KiB more of a multiprocessor's 228
    wide_loads: int  # 128-bit loads from global memory
    spills: int  # loads and stores of local memory
    barriers: int
    instructions: int  # of a warp, each once: those of a loop too


def resources(kernel, folder: Path) -> Resources:
    """Disassemble a compiled kernel; `folder` takes the cubin."""
    cubin = folder / f"{kernel.hash}.cubin"
    cubin.write_bytes(kernel.asm["cubin"])
    usage = _output("cuobjdump", "--dump-resource-usage", cubin)
    found = re.search(r"REG:(\d+) STACK:(\d+) SHARED:\d+ LOCAL:(\d+)", usage)
    if found is None:
        raise RuntimeError(f"cuobjdump printed no resource usage: {usage!r}")
    code = _output("nvdisasm", "-c", cubin)

    def count(opcode: str) -> int:
        return len(re.findall(rf"\b{opcode}\b", code))

    return Resources(
        registers=int(found[1]),
        stack=int(found[2]),
        local=int(found[3]),
        shared=kernel.metadata.shared,  # the cubin has only sm_90's own: the launcher names the rest
        wide_loads=count(r"LDG\.E[\w.]*\.128"),
        spills=count(r"(?:LDL|STL)[\w.]*"),
        barriers=count(r"BAR[\w.]*"),
        instructions=len(re.findall(r"/\*[0-9a-f]{4,}\*/ +(?:@\S+ +)?(?!NOP)[A-Z]", code)),
    )


def _output(tool: str, *arguments) -> str:
    return subprocess.run(
        [TOOLS / tool, *map(str, arguments)], check=True, capture_output=True, text=True
    ).stdout


class Budget(NamedTuple):
    """What a kernel may cost, and the wide loads that it must have."""

    registers: int
    shared: int = 0
    barriers: int = 0
    wide_loads: int = 0
    instructions: int | None = None


_FOUND: dict[str, Resources] = {}  # by hash, since calls of several widths launch one kernel; 0.4 s each


def hold(budgets: dict[str, Budget], arch: int, call: Callable[[], object]) -> None:
    """`call` launches these kernels in this order, within their budgets and without a byte of local memory."""
    with compile_only(arch) as kernels, tempfile.TemporaryDirectory() as folder:
        call()
        assert {kernel.metadata.target.arch for kernel in kernels} == {arch}
        assert [kernel.metadata.name for kernel in kernels] == list(budgets)
        for kernel, budget in zip(kernels, budgets.values(), strict=True):
            if kernel.hash not in _FOUND:
                _FOUND[kernel.hash] = resources(kernel, Path(folder))
            of = _FOUND[kernel.hash]
            within = of.registers <= budget.registers and of.shared <= budget.shared
            within &= of.barriers <= budget.barriers and of.wide_loads >= budget.wide_loads
            within &= budget.instructions is None or of.instructions <= budget.instructions
            assert within and (of.stack, of.local, of.spills) == (0, 0, 0), (kernel.metadata.name, of, budget)
