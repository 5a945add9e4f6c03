"""The base of every verb of the command line: its parser and help, one path for errors, and exit codes.

A verb is a module with `add_arguments(parser)`, `run(arguments) -> int` and `main = Verb(...)`. Heavy packages are
imported inside `run` only, so that `saescale VERB --help` and the completion of its options answer at once.
"""

import argparse
import os
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from typing import Any

from fit.data.near_names import did_you_mean
from fit.law.errors import FitError

DONE, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130
# Options that ask for one thing on stdout, which then holds nothing else: remarks go to stderr.
ASKED_FOR = ("json", "cards", "cfg", "dry_run")


QUIET = "print errors only; the exit code and the files say the rest"
QUIET_ANSWER = "print the answer and errors, no remarks"


class UsageError(Exception):
    """Arguments that cannot be parsed: printed with a pointer to --help, exit code 2."""


class Parser(argparse.ArgumentParser):
    """argparse with this command's help style, and with errors that are raised instead of ending the process."""

    def __init__(self, **options: Any) -> None:
        super().__init__(add_help=False, formatter_class=_Formatter, **options)
        self._positionals.title, self._optionals.title = "arguments", "options"
        self.add_argument("-h", "--help", action="help", help="show this help")

    def error(self, message: str) -> Any:
        raise UsageError(message.removeprefix("argument "))

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        choices = action.choices
        if choices is not None and value not in choices:
            listed = ", ".join(map(str, choices))
            near = did_you_mean(str(value), map(str, choices))
            raise argparse.ArgumentError(action, f"{value!r} is not among the choices {listed}.{near}")

    def parse(self, argv: Sequence[str]) -> argparse.Namespace:
        """Parse options and arguments in any order; everything after a REMAINDER argument is left as it is."""
        if any(action.nargs == argparse.REMAINDER for action in self._actions):
            return self.parse_args(argv)
        arguments, unknown = self.parse_known_intermixed_args(argv)
        if unknown:
            self._refuse(unknown[0])
        return arguments

    def arguments(self) -> list[argparse.Action]:
        """The positional arguments in their order, without hidden ones."""
        hidden = argparse.SUPPRESS
        return [each for each in self._actions if not each.option_strings and each.help != hidden]

    def option(self, name: str) -> argparse.Action | None:
        """The option with this name, such as `--law`; None if there is none."""
        return self._option_string_actions.get(name)

    def option_names(self) -> list[str]:
        """The names of all options, such as `-h` and `--help`."""
        return list(self._option_string_actions)

    def _refuse(self, unknown: str) -> None:
        if not unknown.startswith("-"):
            raise UsageError(f"{unknown} is one argument too many.")
        name = unknown.partition("=")[0]
        raise UsageError(f"{name} is not an option here.{did_you_mean(name, self.option_names())}")


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Examples keep their lines; a column of 26 characters holds most of our options."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=26)


@dataclass(frozen=True)
class Verb:
    """One subcommand; calling it with arguments runs it and returns its exit code.

    Parameters
    ----------
    name : as typed after `saescale`
    add_arguments : declares the verb's arguments and options
    run : does the work and returns the exit code
    description : what the verb does; the first paragraph of its help
    examples : command lines, one per line
    notes : further paragraphs of the help
    failure : what exit code 1 means
    interrupted : the message after Ctrl-C
    errors : the exceptions whose text is a sentence for the user
    answers : whether what it prints is the answer to a question, which -q leaves
    """

    name: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]
    description: str
    examples: str = ""
    notes: str = ""
    failure: str = "failed, with a sentence that says why"
    interrupted: str = "interrupted."
    errors: tuple[type[Exception], ...] = (FitError,)
    answers: bool = False

    def parser(self) -> Parser:
        """The parser of the verb's arguments, with its help."""
        codes = {
            DONE: "done",
            FAILED: self.failure,
            USAGE: "wrong usage",
            INTERRUPTED: "interrupted by Ctrl-C",
        }
        table = "\n".join(f"  {code:<5}{meaning}" for code, meaning in codes.items())
        examples = f"examples:\n{_indented(self.examples)}" if self.examples else ""
        parser = Parser(
            prog=f"saescale {self.name}",
            description=textwrap.fill(self.description, 100),
            epilog="\n\n".join(filter(None, (self.notes.strip(), examples, f"exit codes:\n{table}"))),
        )
        self.add_arguments(parser)
        parser.add_argument(
            "-q", "--quiet", action="store_true", help=QUIET_ANSWER if self.answers else QUIET
        )
        several = ("*", "+", argparse.REMAINDER)
        named = [f"{each.metavar}{' …' if each.nargs in several else ''}" for each in parser.arguments()]
        passes_on = any(each.nargs == argparse.REMAINDER for each in parser.arguments())
        parser.usage = f"%(prog)s {' '.join(named)}{'' if passes_on else ' [options]'}"
        return parser

    def __call__(self, argv: Sequence[str] | None = None) -> int:
        """Parse the arguments, those of this process by default, and run the verb. Returns the exit code."""
        given = sys.argv[1:] if argv is None else argv
        command = f"saescale {self.name}"
        return guarded(command, lambda: self._run(self.parser().parse(given)), self.errors, self.interrupted)

    def _run(self, arguments: argparse.Namespace) -> int:
        with _quietly(arguments.quiet and not (self.answers or asked_for(arguments))):
            return self.run(arguments)


@contextmanager
def _quietly(quiet: bool) -> Iterator[None]:
    """Drop what is printed to stdout inside the block."""
    if not quiet:
        yield
        return
    with open(os.devnull, "w", encoding="utf-8") as nowhere, redirect_stdout(nowhere):
        yield


def asked_for(arguments: argparse.Namespace) -> bool:
    """Whether an option asks for one thing on stdout, as --json does."""
    return any(getattr(arguments, name, None) for name in ASKED_FOR)


def remarks(arguments: argparse.Namespace, answers: bool = False) -> Callable[[str], None]:
    """Where the remarks of a verb go: to stdout, to stderr where stdout holds an answer, and nowhere with -q."""
    if getattr(arguments, "quiet", False):
        return lambda text: None
    file = sys.stderr if answers or asked_for(arguments) else sys.stdout
    return lambda text: print(text, file=file)


def _indented(lines: str) -> str:
    return "\n".join(f"  {line.strip()}" for line in lines.strip().splitlines())


def guarded(
    command: str,
    body: Callable[[], int],
    errors: tuple[type[Exception], ...] = (FitError,),
    interrupted: str = "interrupted.",
) -> int:
    """Run `body` and return its exit code; every error that a user can cause becomes one sentence on stderr."""
    try:
        code = body()
        sys.stdout.flush()  # here, where a closed pipe can be caught, and not when the interpreter ends
        return code
    except SystemExit as stop:  # --help and --version
        if isinstance(stop.__context__, BrokenPipeError):  # rich ends with 1 where the reader closed the pipe
            return DONE
        return int(stop.code or 0)
    except UsageError as error:
        return _tell(command, f"{_sentence(str(error))} See {command} --help.", USAGE)
    except errors as error:
        near = did_you_mean(str(getattr(error, "value", "")), getattr(error, "known", ()))
        return _tell(command, f"{error}{near}", FAILED)
    except BrokenPipeError:  # the reader closed the pipe, as `… | head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return DONE
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _tell(command, f"{where}{error.strerror or error}", FAILED)
    except KeyboardInterrupt:
        return _tell(command, interrupted, INTERRUPTED)


def _tell(command: str, sentence: str, code: int) -> int:
    print(f"{command}: {sentence}", file=sys.stderr)
    return code


def _sentence(text: str) -> str:
    return text if text.endswith((".", "?", "!")) else f"{text}."
