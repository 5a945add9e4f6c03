"""What every verb shares: its help, its exit codes, and errors that are one sentence."""

import subprocess
import sys
from pathlib import Path

import pytest

from fit.law.errors import FitError
from fit.views.verbs.command import Verb

ROOT = Path(__file__).parents[4]


def a_verb(run, **more):
    def add_arguments(parser):
        parser.add_argument("words", nargs="*", metavar="WORD", help="any words")
        parser.add_argument("--loud", action="store_true", help="in capitals")

    return Verb("echo", add_arguments, run, "Print the words.", **more)


def failing(error):
    def run(arguments):
        raise error

    return a_verb(run)


def test_options_stand_anywhere_and_arguments_keep_their_order():
    for given in (["--loud", "a=1", "b"], ["a=1", "--loud", "b"], ["a=1", "b", "--loud"]):
        received = []
        assert a_verb(lambda arguments, into=received: into.append(arguments) or 0)(given) == 0
        assert received[0].words == ["a=1", "b"] and received[0].loud


def test_help_names_arguments_options_examples_and_exit_codes(capsys):
    verb = a_verb(lambda arguments: 1, examples="saescale echo a b", failure="nobody listens")
    assert verb(["--help"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("usage: saescale echo WORD … [options]\n\nPrint the words.\n")
    parts = [
        "arguments:\n",
        "options:\n",
        "examples:\n  saescale echo a b\n",
        "exit codes:\n  0    done\n  1    nobody listens\n",
    ]
    assert [text.index(part) for part in parts] == sorted(text.index(part) for part in parts)


@pytest.mark.parametrize(
    ("error", "code", "sentence"),
    [
        (FitError("It has no rows."), 1, "It has no rows."),
        (
            FileNotFoundError(2, "No such file or directory", "gone.csv"),
            1,
            "gone.csv: No such file or directory",
        ),
        (OSError("disk on fire"), 1, "disk on fire"),
        (KeyboardInterrupt(), 130, "interrupted."),
    ],
)
def test_errors_are_one_sentence_and_an_exit_code(error, code, sentence, capsys):
    assert failing(error)([]) == code
    assert capsys.readouterr().err == f"saescale echo: {sentence}\n"


def test_a_fault_of_the_program_keeps_its_traceback():
    with pytest.raises(KeyError):
        failing(KeyError("bug"))([])


def test_wrong_usage_is_exit_code_2_and_points_to_the_help(capsys):
    assert a_verb(lambda arguments: 0)(["--laud"]) == 2
    sentence = "--laud is not an option here. Did you mean --loud? See saescale echo --help."
    assert capsys.readouterr().err == f"saescale echo: {sentence}\n"


@pytest.mark.parametrize("verb", ["fit", "figures", "report"])
def test_help_needs_no_heavy_import(verb):
    code = f"""
import sys
from fit.views.verbs.{verb} import main
assert main(["--help"]) == 0
loaded = {{"torch", "hydra", "scipy", "matplotlib", "pandas"}} & set(sys.modules)
assert not loaded, loaded
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_closed_pipe_ends_the_command_quietly():
    command = f"{sys.executable} -m fit.views.verbs.fit --help | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "0\n" and not done.stderr


def test_a_pipe_that_is_closed_before_rich_writes_is_no_failure():
    code = """
import sys, time
from rich.console import Console
from tests.fit.views.verbs.test_command import a_verb
def show(arguments):
    time.sleep(0.3)
    Console().print("a line")
    return 0
sys.exit(a_verb(show)([]))
"""
    command = f"{sys.executable} -c '{code}' | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "0\n" and not done.stderr
