"""The snapshot of the code: whole, importable by itself, and it knows its commit."""

import subprocess
import sys

from sweeps.dispatch import snapshot
from sweeps.ledger import provenance


def test_a_worker_imports_the_snapshot_and_not_the_checkout(tmp_path):
    code = snapshot.take(tmp_path)
    (code / "sweeps" / "mark.py").write_text("")
    program = (
        "import sweeps.worker.worker as w, sweeps.mark, kernels.plan as p; print(w.__file__, p.__file__)"
    )
    env = {"PYTHONPATH": str(code), "PYTHONSAFEPATH": "1", "PATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", program], env=env, capture_output=True, text=True, check=True
    )
    assert all(path.startswith(str(code)) for path in done.stdout.split())


def test_it_says_which_commit_and_what_was_edited_since(tmp_path, monkeypatch):
    monkeypatch.setattr(snapshot, "git_state", lambda: ("abc", True))
    monkeypatch.setattr(snapshot, "changes", lambda: "--- a\n+++ b")
    code = snapshot.take(tmp_path)
    assert (code / "changes.patch").read_text() == "--- a\n+++ b\n"
    monkeypatch.setattr(provenance, "_ROOT", code)
    assert provenance.git_state() == ("abc", True)
    assert provenance.environment("cpu")["git_sha"] == "abc"
