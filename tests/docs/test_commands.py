"""Every command, YAML and Python block of README and docs/ works as printed, and prints the numbers that stand below.

They run in one process, in the order of the pages, in a scratch folder that has the tables and pages of the repository.
Long ones are made smaller by further overrides (`SMALLER`); what cannot run here is listed with the reason (`NOT_RUN`).
"""

import argparse
import filecmp
import re
import shlex
import shutil

import numpy as np
import pytest

from fit.law import laws
from fit.study import fits_file
from fit.views.lines.screen import screen
from fit.views.verbs.fit import WIDTH
from sweeps.verbs.cli import main, named
from tests.docs.pages import EVERY_PAGE, PAGES, ROOT, blocks, inline_commands, squeezed

# A study on synthetic data in a second: fewer features and held-out tokens, few and short runs, in this process.
DATA = "data.synthetic.n_features=500 data.synthetic.held_out=2048"
QUICK = f"{DATA} launcher=debug train.first_eval_tokens=1024"
LM = "the language model runs for minutes; tests/sae_core/data/ runs one of two layers"
GPT4 = "saescale fit fit/datasets/gao2024_gpt4_lnk.csv --law L_NK --map n_latents=n,k=k,nmse=loss --out /tmp/gpt4"
SMOLLM2 = "saescale fit docs/smollm2/runs.parquet --law L_N --out /tmp/smollm2"
NOT_RUN = {
    "make demo": "5 minutes; its verbs are run one by one below",
    "make test": "this test is part of it",
    "make regimes": "40 minutes; its tables are in docs/regimes",
    "make demo-lm": "37 minutes; its tables are in docs/smollm2",
    "pip install -e .": "it would change the environment of this test",
    "saescale harvest data=smollm2": LM,
    "saescale harvest data=smollm2 data.harvest.layer=5,10,15": LM,
}
SMALLER = {
    "saescale launch study=demo --wait": f"{QUICK} sae.n_latents=32,48,72,108,162 sae.k=4 train.max_tokens=16384 "
    "train.epsilon=0.2",
    "saescale launch study=demo name=mine sae.n_latents=256,512,1024 sae.k=8,16 'train.lr=geom(1e-4,1.6e-3,2)' "
    "train.batch_tokens=1024,4096": f"{QUICK} sae.n_latents=32,48,72 sae.k=4 train.lr=2e-2 train.batch_tokens=512,1024 "
    "train.max_tokens=8192 train.stop=budget",
    "saescale launch study=demo train.stop=budget train.lr_schedule=sqrt "
    "'train.max_tokens=500000,1000000,2000000'": f"{QUICK} name=decays sae.n_latents=32 sae.k=4 "
    "train.max_tokens=4096,8192",
    "saescale launch study=demo train.stop=budget train.max_tokens=1000000 launcher.keep_state=true": f"{QUICK} "
    "name=kept sae.n_latents=32 sae.k=4 train.max_tokens=4096",
    "saescale launch study=demo train.stop=budget train.lr_schedule=sqrt "
    "'train.max_tokens=1250000,2000000'": f"{QUICK} name=kept sae.n_latents=32 sae.k=4 train.max_tokens=5120,8192",
    "saescale plan study=demo design=true design.target=alpha": DATA,
    # Runs as short as these do not converge, and have one k.
    "saescale fit runs/demo --law L_N,L_NK -v": "--law L_N --unconverged keep",
    # There is no SLURM: the script that would be submitted.
    "saescale launch study=demo launcher=slurm": "--dry-run",
    "saescale launch study=demo_phases launcher=slurm": "--dry-run",
    "saescale launch study=demo launcher=mycluster 'hydra.searchpath=[site]' budget.gpu_hours=60": "--dry-run",
    # Without the language model: whether its config can be composed.
    "saescale launch study=smollm2 data=streaming": "--cfg job",
    "saescale harvest data=array data.array.path=acts.npy data.store=stores/acts": "data.array.held_out=2048",
    "saescale launch study=smollm2 data=store data.store=stores/acts": "launcher=debug sae.n_latents=32 sae.k=4 "
    "train.max_tokens=4096",
    GPT4: "--out gpt4",
    SMOLLM2: "--out smollm2_l_n",
    "saescale fit tests/fit/cases/isoflop_unique_n.csv --law N_C -v --out /tmp/isoflop": "--out isoflop",
}
# What prints the output in a block without a command of its own: a command above it, or the fits of a long one.
PRINTED_BY = {
    "README.md: L_N: L(N) = E + A·N^−α a": SMOLLM2,
    "README.md: REFUTED: the best lr at": "docs/regimes/synthetic/fits.json",
    "README.md: L_NK: L(N, K) = exp(α +": GPT4,
    "docs/guide/phases.md: all phases phase runs to": "saescale plan study=gpt2_small launcher=slurm",
}
NOT_PRINTED = {
    "docs/architecture.md: conf/ config groups and": "a drawing",
    "docs/fitting.md: rows: 16 of 80 rows of t": "of a table that is not in the repository",
    "docs/fitting.md: runs.csv was read as tex": "of a table that is not in the repository",
    "docs/guide/phases.md: phase 2 of 2: main (ln,": "of the demo's phases, which take 10 minutes",
}
# Each YAML block: the file that holds it, and the command that reads it.
CONFIGS = {
    "README.md: # mine/grid/mine.yaml sa": (
        "mine/grid/mine.yaml",
        "saescale plan study=demo grid=mine name=mine 'hydra.searchpath=[mine]'",
    ),
    "docs/guide/launching.md: defaults: [slurm, _self_": (
        "site/launcher/mycluster.yaml",
        "saescale plan study=demo launcher=mycluster 'hydra.searchpath=[site]' --dry-run",
    ),
    "docs/howto/slurm.md: # site/launcher/mycluste": (
        "site/launcher/mycluster.yaml",
        "saescale plan study=demo launcher=mycluster 'hydra.searchpath=[site]'",
    ),
    "docs/guide/phases.md: # @package _global_ # co": (
        "site/study/shortened.yaml",
        "saescale plan study=shortened 'hydra.searchpath=[site]'",
    ),
}
TWO_STUDIES = "saescale compare runs/topk runs/batchtopk"
OWN_LAW = (
    "saescale fit fit/datasets/gao2024_gpt4_lnk.csv --map n_latents=n --law mylaws.py:L_NK_POWER --out own"
)
COPIED = ("docs", "fit/datasets", "tests/fit/cases")

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def every_block():
    return [block for page in PAGES for block in blocks(page)]


def smaller(command: str) -> list[str]:
    """The arguments after `saescale`, with those of SMALLER; a key or option that is given again replaces the first."""
    words, more = shlex.split(command)[1:], shlex.split(SMALLER.get(command, ""))
    for key in (word.partition("=")[0] for word in more):
        if key in words:  # an option and its value
            del words[words.index(key) : words.index(key) + 2]
        words = [word for word in words if not word.startswith(f"{key}=")]
    return [*words, *more]


@pytest.fixture(autouse=True)
def registered():
    """The laws of the pages are registered for one test only."""
    kept, origins = dict(laws.LAWS), dict(laws.ORIGINS)
    yield
    for table, before in ((laws.LAWS, kept), (laws.ORIGINS, origins)):
        table.clear()
        table.update(before)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    """A folder with the tables that commands name, activations of one's own, and nothing of a run."""
    folder = tmp_path_factory.mktemp("reader")
    for name in COPIED:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    activations = np.random.default_rng(0).standard_normal((8192, 24)).astype("float32")
    np.save(folder / "acts.npy", activations)
    return folder


class Reader:
    """Runs what the pages print, each command once, and keeps what it printed."""

    def __init__(self, folder, capsys):
        self.folder, self.capsys = folder, capsys
        self.printed: dict[str, str] = {}

    def run(self, command: str) -> None:
        if command in self.printed or command in NOT_RUN:
            return
        if command == TWO_STUDIES:
            for name in ("topk", "batchtopk"):
                shutil.copytree("runs/mine", f"runs/{name}")
        self.capsys.readouterr()
        code = main(smaller(command))
        output = self.capsys.readouterr()
        assert code == 0, f"{command}: {output.err}"
        self.printed[command] = squeezed(output.out)

    def config(self, block) -> None:
        """Write a YAML block to the file that the page names, and run the command that reads it."""
        path, command = CONFIGS[block.name]
        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / path).write_text(block.text)
        self.run(command)

    def source(self, block) -> str | None:
        """What prints the output in a block: its own first command, or that of PRINTED_BY. Runs it."""
        if block.text.startswith("$ "):
            return block.commands[0]
        source = PRINTED_BY.get(block.name)
        if source is not None and not source.startswith("saescale"):
            file = fits_file.read(self.folder / source)
            lines = screen(file.fits, file.regimes, (), WIDTH)
            self.printed[source] = squeezed(" ".join(line.text for line in lines))
        elif source is not None:
            self.run(source)
        return source

    def compare(self, block) -> None:
        """Whether each line of output in a block is printed, alignment and line breaks aside."""
        source = self.source(block)
        for line in block.text.splitlines() if source else ():
            if not line.startswith(("$", "…")):
                printed = squeezed(line) in self.printed[source]
                assert printed, f"{block.name}: {source} does not print {line.strip()}"


@pytest.mark.slow
def test_every_command_works_and_prints_what_the_page_shows(scratch, monkeypatch, capsys):
    monkeypatch.chdir(scratch)
    reader = Reader(scratch, capsys)
    for block in every_block():
        if block.name in CONFIGS:
            reader.config(block)
        for line in block.commands:
            for command in line.split(" && "):
                reader.run(command)
        reader.compare(block)
    assert set(SMALLER) - set(reader.printed) == set(), "no page has these commands"
    for name in COPIED:
        assert changed(filecmp.dircmp(ROOT / name, scratch / name, ignore=["__pycache__"])) == []


def changed(compared: filecmp.dircmp) -> list[str]:
    """The files that differ from those of the repository, or are not there."""
    here = [f"{compared.right}/{name}" for name in (*compared.diff_files, *compared.right_only)]
    return here + [name for part in compared.subdirs.values() for name in changed(part)]


@pytest.mark.slow
def test_python_blocks_run_in_the_order_of_their_page(scratch, monkeypatch, capsys):
    monkeypatch.chdir(scratch)
    shutil.copy("docs/gpt4/fits.json", "fits.json")
    for page in PAGES:
        names: dict[str, object] = {}
        for block in blocks(page):
            if block.language == "python":
                exec(compile(block.text, block.name, "exec"), names)
                if block.text.startswith("# mylaws.py") and "L_NK_POWER" in block.text:
                    (scratch / "mylaws.py").write_text(block.text)
    assert main(shlex.split(OWN_LAW)[1:]) == 0
    assert "L(N, K) = E + A·N^−α·K^−β" in capsys.readouterr().out


def test_every_block_is_run_compared_or_listed_with_a_reason():
    here = {block.name: block for block in every_block()}
    listed = {*PRINTED_BY, *NOT_PRINTED, *CONFIGS}
    assert listed <= set(here), "a page has lost a block that is listed above"
    for name, block in here.items():
        assert block.language in ("", "bash", "yaml", "python"), name
        assert block.commands or block.language == "python" or name in listed, (
            f"nothing runs or compares {name}"
        )


@pytest.mark.parametrize("page", EVERY_PAGE, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_in_the_prose_have_verbs_and_options_that_exist(page):
    """With TABLE, STUDY or … for a value they cannot be run."""
    for words in inline_commands(page):
        words = [word for word in words if word != "…"]
        if words[0].isupper() or "--help" in words:  # `saescale VERB --help`
            continue
        parser = named(words[0]).parser()
        if any(action.nargs == argparse.REMAINDER for action in parser.arguments()):
            continue  # what follows is read by another program
        for option in (word.partition("=")[0] for word in words if word.startswith("--")):
            assert parser.option(option), f"saescale {words[0]} has no {option}"
        if not any(action.required and len(words) == 1 for action in parser.arguments()) and not re.search(
            "[|…]", " ".join(words)
        ):
            parser.parse(words[1:])
