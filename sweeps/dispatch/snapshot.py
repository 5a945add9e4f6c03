"""The code that a launch's workers run: a copy made at launch, so that later edits do not change a waiting job."""

import json
import shutil
from pathlib import Path

import sae_core
import sweeps
from sweeps.config.schema import conf_dir
from sweeps.ledger.provenance import CODE, changes, git_state

CHANGES = "changes.patch"
# What a worker imports. `kernels` has no __init__.py, so it is found beside `sae_core`.
PACKAGES = ("sweeps", "sae_core", "kernels")


def take(folder: Path, to_plan: bool = False) -> Path:
    """Copy the packages to folder/code, with the commit in code.json and edits since it in changes.patch.

    to_plan: with `fit` and the config too, for a job that plans the next phase.
    """
    code = folder / "code"
    root = Path(sae_core.__file__).parent.parent
    if to_plan:
        shutil.copytree(conf_dir(), code / "conf")
    for name in (*PACKAGES, *(["fit"] if to_plan else [])):
        source = Path(sweeps.__file__).parent if name == "sweeps" else root / name
        shutil.copytree(source, code / name, ignore=shutil.ignore_patterns("__pycache__", "conf"))
    if (root / CHANGES).exists():  # this code is a snapshot itself
        shutil.copy(root / CHANGES, code / CHANGES)
    sha, dirty = git_state()
    if dirty and (patch := changes()):
        (code / CHANGES).write_text(patch + "\n", encoding="utf-8")
    (code / CODE).write_text(json.dumps({"git_sha": sha, "git_dirty": dirty}), encoding="utf-8")
    return code
