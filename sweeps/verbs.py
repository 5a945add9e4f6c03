"""What every verb of the command line shares: --help from its docstring, errors as one sentence, exit codes."""

import inspect
import sys
from collections.abc import Callable, Sequence
from typing import Protocol

from sae_core.errors import CheckpointError, ConfigError, DataError
from sweeps.errors import SweepError

_SENTENCES = (SweepError, ConfigError, DataError, CheckpointError)
_GRAMMAR = """
Arguments are Hydra overrides: key=value, group=choice; sweeps: key=a,b,c  key=range(1,5)  key=geom(start,stop,ratio).
"""


class Verb(Protocol):
    def __call__(self, arguments: Sequence[str] | None = None) -> int: ...


def verb(name: str) -> Callable[[Callable[[Sequence[str]], int]], Verb]:
    """Make `main(arguments) -> exit code` a verb: 0 all well, 1 said why not, 2 used wrongly."""

    def wrap(body: Callable[[Sequence[str]], int]) -> Verb:
        def run(arguments: Sequence[str] | None = None) -> int:
            given = list(sys.argv[1:] if arguments is None else arguments)
            if "-h" in given or "--help" in given:
                print(f"usage: saescale {name} [overrides]\n\n{inspect.getdoc(body)}\n{_GRAMMAR}")
                return 0
            try:
                return body(given)
            except _SENTENCES as error:
                print(f"saescale {name}: {error}", file=sys.stderr)
                return 1
            except KeyboardInterrupt:
                print(f"saescale {name}: interrupted.", file=sys.stderr)
                return 130

        return run

    return wrap


def take_flag(arguments: Sequence[str], flag: str) -> tuple[bool, list[str]]:
    """Whether `flag` (e.g. "--wait") is among the arguments, and the rest; any other --option is an error."""
    rest = [a for a in arguments if a != flag]
    unknown = [a for a in rest if a.startswith("-")]
    if unknown:
        raise SweepError(f"{unknown[0]} is not an option here; see --help.")
    return flag in arguments, rest
