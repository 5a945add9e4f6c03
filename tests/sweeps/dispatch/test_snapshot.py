"""A snapshot of the code records its commit and the edits since.

tests/install/test_wheel.py checks what files it holds.
"""

from sweeps.dispatch import snapshot
from sweeps.ledger import provenance


def test_it_says_which_commit_and_what_was_edited_since(tmp_path, monkeypatch):
    monkeypatch.setattr(snapshot, "git_state", lambda: ("abc", True))
    monkeypatch.setattr(snapshot, "changes", lambda: "--- a\n+++ b")
    code = snapshot.take(tmp_path)
    assert (code / "changes.patch").read_text() == "--- a\n+++ b\n"
    monkeypatch.setattr(provenance, "_ROOT", code)
    assert provenance.git_state() == ("abc", True)
    assert provenance.environment("cpu")["git_sha"] == "abc"
