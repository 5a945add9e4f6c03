"""What every verb of the command line shares: --help from its docstring, errors as one sentence, exit codes."""

import inspect
import os
import sys
from collections.abc import Callable, Sequence
from typing import Protocol

from fit.law.errors import FitError
from sae_core.errors import CheckpointError, ConfigError, DataError
from sae_core.export.about import ExportError
from sweeps.errors import SweepError

# Their text is a sentence for the user; any other exception is a fault of this program.
USER_ERRORS = (SweepError, ConfigError, DataError, CheckpointError, ExportError, FitError)
_ARGUMENTS = {
    "OVERRIDES": """
OVERRIDES are Hydra's: key=value, group=choice; sweeps are key=a,b,c  key=range(1,5)  key=geom(start,stop,ratio).
""",
    "STUDY": """
STUDY is the study's folder, or the overrides that name it, as in study=demo.
""",
}


# As Hydra's own command line has them: here every launch is a multirun.
_MULTIRUN, _CFG = ("-m", "--multirun"), ("-c", "--cfg")


class Verb(Protocol):
    def __call__(self, arguments: Sequence[str] | None = None) -> int: ...


def verb(
    name: str, takes: str = "OVERRIDES", flags: Sequence[str] = ()
) -> Callable[[Callable[..., int]], Verb]:
    """Make `body(arguments, *flags given?) -> exit code` a verb: 0 all well, 1 said why not, 130 interrupted.

    takes: what its arguments are, "OVERRIDES" or "STUDY";  flags: its options, each handed to the body as a bool.
    """

    def wrap(body: Callable[..., int]) -> Verb:
        def run(arguments: Sequence[str] | None = None) -> int:
            given = list(sys.argv[1:] if arguments is None else arguments)
            if "-h" in given or "--help" in given:
                usage = " ".join([f"usage: saescale {name}", takes, *(f"[{flag}]" for flag in flags)])
                print(f"{usage}\n\n{inspect.getdoc(body)}\n{_ARGUMENTS[takes]}")
                return 0
            try:
                if takes == "OVERRIDES":
                    given = [a for a in given if a not in _MULTIRUN]
                    if any(a in _CFG for a in given):
                        return _print_config(given)
                unknown = [a for a in given if a.startswith("-") and a not in flags]
                if unknown:
                    raise SweepError(f"{unknown[0]} is not an option here; see saescale {name} --help.")
                return body([a for a in given if a not in flags], *(flag in given for flag in flags))
            except USER_ERRORS as error:
                print(f"saescale {name}: {error}", file=sys.stderr)
                return 1
            except BrokenPipeError:  # the reader has seen enough (… | head)
                os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
                return 0
            except OSError as error:
                print(f"saescale {name}: {error.filename or ''}: {error.strerror or error}", file=sys.stderr)
                return 1
            except KeyboardInterrupt:
                print(f"saescale {name}: interrupted.", file=sys.stderr)
                return 130

        return run

    return wrap


def _print_config(given: Sequence[str]) -> int:
    """`--cfg job`: the composed config as YAML, sweeps left out."""
    from sweeps.config.compose import config_text

    rest = [a for a in given if a not in (*_CFG, "job")]
    if len(rest) != len(given) - 2:
        raise SweepError("--cfg prints the job's config: write --cfg job.")
    print(config_text(rest))
    return 0
