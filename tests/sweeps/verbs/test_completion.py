"""Completion: what may stand at a word, and the scripts as their shells run them."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from sweeps.config.compose import compose, hydra_session
from sweeps.config.keys import config_keys
from sweeps.verbs.cli import VERBS
from sweeps.verbs.completion import answers, main

ROOT = Path(__file__).parents[3]


def test_verbs_and_the_options_of_the_command():
    assert answers([""]) == list(VERBS)
    assert answers(["pl"]) == ["plan"] and answers(["--v"]) == ["--version"]
    assert answers(["dance", ""]) == []


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("launch --w", ["--wait"]),
        ("fit t.csv --unconverged ", ["keep", "drop", "extrapolate"]),
        ("fit t.csv --unconverged=k", ["--unconverged=keep"]),
        ("fit --out ", [":folders"]),
        ("fit ", [":files"]),
        ("fit t.csv ", []),
        ("fit --where ", []),
        ("figures t.csv --only l_n l_n", ["l_n", "l_nk"]),
        ("export --format s", ["saelens", "sparsify"]),
        ("plan study=gp", ["study=gpt2_small"]),
        ("plan study=demo,demo_p", ["study=demo,demo_phases"]),
        ("plan launcher=", ["launcher=debug", "launcher=local", "launcher=slurm"]),
        ("plan launcher.slurm.part", ["launcher.slurm.partition="]),
        ("plan data.synthetic.n_", ["data.synthetic.n_features="]),
        ("plan sae.multi_topk=t", ["sae.multi_topk=true"]),
        ("plan +exp", ["+experiment="]),
        ("plan ++sae.multi", ["++sae.multi_topk="]),
        ("launch study=demo --wait train.lr=", []),
        ("status runs/demo", [":files"]),
        ("collect stu", ["study=", ":files"]),
        ("bench st", ["step_cpu"]),
        ("bench train --", []),
        ("completion f", ["fish"]),
    ],
)
def test_answers(line, expected):
    assert answers(line.split(" ")) == expected


def test_every_key_that_the_config_has_is_known():
    """Against the keys of a config that Hydra composed."""
    known = config_keys()

    def leaves(node, prefix=""):
        for name, value in node.items():
            key = f"{prefix}{name}"
            yield from leaves(value, f"{key}.") if isinstance(value, dict) and key not in known else [key]

    with hydra_session():
        composed = set(leaves(OmegaConf.to_container(compose(["study=demo", "launcher=slurm"]))))
    unset = {"data.harvest", "data.array", "data.streaming"}  # null in this study
    assert composed - unset <= set(known) and {"sae.n_latents", "data.harvest.layer"} <= set(known)


def test_answering_needs_no_torch():
    code = """
import sys
from sweeps.verbs.cli import main
assert main(["completion", "answer", "plan", "sae.k"]) == 0
heavy = {"torch", "scipy", "pandas", "matplotlib", "numpy"} & set(sys.modules)
assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr


def test_an_unknown_shell_is_a_sentence(capsys):
    assert main(["zhs"]) == 2
    assert "'zhs' is not among the shells bash, zsh, fish. Did you mean zsh" in capsys.readouterr().err


@pytest.fixture
def command(tmp_path):
    """A folder to be in, with a `saescale` and the scripts of all shells."""
    program = tmp_path / "saescale"
    program.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m sweeps.verbs.cli "$@"\n')
    program.chmod(0o755)
    (tmp_path / "runs.csv").write_text("")
    for shell in ("bash", "zsh", "fish"):
        script = subprocess.run([program, "completion", shell], capture_output=True, text=True, check=True)
        (tmp_path / f"script.{shell}").write_text(script.stdout)
    return tmp_path


def run(shell, code, folder):
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    options = {"bash": ["--norc", "--noprofile"], "zsh": ["-f"], "fish": ["--no-config"]}[shell]
    environment = {"PATH": f"{folder}:/usr/bin:/bin", "HOME": str(folder), "TERM": "dumb"}
    done = subprocess.run(
        [shell, *options, "-c", code], capture_output=True, text=True, cwd=folder, env=environment
    )
    assert not done.stderr, done.stderr
    return done.stdout.splitlines()


LINES = [
    ("plan st", ["study="]),
    ("plan study=demo_p", ["study=demo_phases"]),
    ("launch study=demo --wa", ["--wait"]),
    ("fit ru", ["runs.csv"]),
]


def test_bash_completes(command):
    """The words after the last = alone, since bash splits there and keeps what stands before."""
    code = "source script.bash; compopt() { :; }; complete -p saescale; COMP_WORDBREAKS=' =:'\n" + "\n".join(
        f'COMP_LINE="saescale {line}"; COMP_POINT=${{#COMP_LINE}}; _saescale; echo "${{COMPREPLY[@]}}"'
        for line, _ in LINES
    )
    assert run("bash", code, command) == [
        "complete -F _saescale saescale",
        *(" ".join(expected).removeprefix("study=") or "study=" for _, expected in LINES),
    ]


def test_zsh_completes(command):
    code = 'compdef() { print "$@" }; compadd() { print -- "${@[-1]}" }; _files() { print -l runs.csv }\n'
    code += "source ./script.zsh\n" + "\n".join(
        f'words=(saescale {line}); CURRENT=${{#words}}; _saescale | tr "\\n" " "; print' for line, _ in LINES
    )
    assert [each.strip() for each in run("zsh", code, command)] == [
        "_saescale saescale",
        *(" ".join(expected) for _, expected in LINES),
    ]


def test_fish_completes(command):
    code = "source script.fish\n" + "\n".join(f"complete -C 'saescale {line}'" for line, _ in LINES)
    assert run("fish", code, command) == [each for _, expected in LINES for each in expected]
