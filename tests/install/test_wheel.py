"""The wheel and a launch's snapshot of the code hold every module and data file, in whatever room it lives."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from sweeps.dispatch import snapshot
from sweeps.ledger import provenance

ROOT = Path(__file__).parents[2]
CODE = ("fit", "kernels", "sae_core", "sweeps")
# A file of any other kind in a package is a mistake, or has to be named here and in pyproject.toml's package-data.
KINDS = {".py", ".typed", ".json", ".yaml", ".csv", ".md", ".css", ".js", ".j2"}


def files(folder: Path) -> set[str]:
    """Every file below `folder`, relative to it, except caches and hidden files."""
    found = {p.relative_to(folder) for p in folder.rglob("*") if p.is_file()}
    return {p.as_posix() for p in found if "__pycache__" not in p.parts and not p.name.startswith(".")}


def tree(*packages: str) -> set[str]:
    """Every file of these packages in the checkout."""
    return {f"{name}/{file}" for name in packages for file in files(ROOT / name)}


# An installed `sweeps` holds the config groups, which a checkout shows at its top.
INSTALLED = tree(*CODE) | {"saescale.py"} | {f"sweeps/conf/{file}" for file in files(ROOT / "conf")}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Built from a copy: setuptools leaves build/ in the checkout, and would pack what an earlier build left there."""
    copy = tmp_path_factory.mktemp("checkout") / "saescale"
    leave_out = shutil.ignore_patterns(
        ".*", "__pycache__", "*.egg-info", "build", "dist", "runs", "stores", "docs"
    )
    shutil.copytree(ROOT, copy, ignore=leave_out)
    target = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps"]
    done = subprocess.run(
        [*build, "--no-build-isolation", "--no-index", "--wheel-dir", str(target), str(copy)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    (built,) = target.glob("*.whl")
    return built


def test_every_kind_of_file_is_one_that_gets_installed():
    assert {Path(file).suffix for file in INSTALLED} <= KINDS


def test_the_wheel_holds_every_file_of_the_packages_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        inside = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert inside == INSTALLED


def test_what_is_installed_finds_its_config_templates_and_data(wheel, tmp_path):
    """In a process whose path holds the unpacked wheel and the libraries, but not the checkout."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
    program = """
from sweeps.config.schema import conf_dir
import fit.views.page.page, fit.datasets, kernels.tuning, saescale, sweeps.verbs.cli
for module in (saescale, fit.views.page.page, fit.datasets, kernels.tuning, sweeps.verbs.cli):
    print(module.__file__)
print(conf_dir())
print(conf_dir() / "config.yaml")
"""
    env = os.environ | {"PYTHONPATH": str(tmp_path / "installed"), "PYTHONSAFEPATH": "1"}
    done = subprocess.run(
        [sys.executable, "-c", program], env=env, cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    paths = [Path(line) for line in done.stdout.splitlines()]
    assert all(path.exists() and path.is_relative_to(tmp_path / "installed") for path in paths), done.stdout


def test_a_snapshot_holds_every_file_of_what_a_worker_imports(tmp_path):
    code = snapshot.take(tmp_path)
    assert files(code) - {provenance.CODE, "changes.patch"} == tree(*snapshot.PACKAGES)


def test_a_worker_imports_the_snapshot_and_not_the_checkout(tmp_path):
    """The checkout may be edited while the job waits in the queue."""
    code = snapshot.take(tmp_path)
    (code / "sweeps" / "mark.py").write_text("")
    program = f"""
import sys
import sweeps.mark, sweeps.worker.job_main, sweeps.worker.worker, kernels.plan
for name, module in sys.modules.items():
    if name.split(".")[0] in {(*CODE, "benchmarks", "tests")} and getattr(module, "__file__", None):
        print(module.__file__)
"""
    env = {"PYTHONPATH": str(code), "PYTHONSAFEPATH": "1", "PATH": ""}
    done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    paths = done.stdout.splitlines()
    assert len(paths) > 20
    assert not [path for path in paths if not Path(path).is_relative_to(code)]
