"""The notebooks of docs/notebooks/ run from start to end; what does not depend on time they print as they show it."""

import os

import pytest

from tests.docs.pages import ROOT

FOLDER = ROOT / "docs" / "notebooks"


def executed(name):
    """The notebook as it is kept, and as it runs now, beside it."""
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    kept = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    fresh = nbformat.from_dict(kept)
    resources = {"metadata": {"path": str(FOLDER)}}
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    env = {**os.environ, "PYTHONPATH": path}
    client = nbclient.NotebookClient(fresh, timeout=600, kernel_name="python3", resources=resources)
    client.execute(env=env)
    return kept, fresh


def texts(notebook):
    """The plain text that each cell prints or shows, by its number."""
    return {
        number: "".join(output.get("text") or output["data"].get("text/plain", "") for output in cell.outputs)
        for number, cell in enumerate(notebook.cells)
        if cell.cell_type == "code"
    }


@pytest.mark.slow
def test_a_table_of_ones_own_gives_what_the_notebook_shows():
    kept, fresh = executed("own_table")
    assert texts(fresh) == texts(kept)
    assert any("data:image/png" in str(output) for cell in fresh.cells for output in cell.get("outputs", ()))


@pytest.mark.slow
def test_a_sweep_on_this_machine_ends_with_a_law():
    kept, fresh = executed("sweep")
    assert len(texts(fresh)) == len(texts(kept))
    printed = "\n".join(texts(fresh).values())
    assert "5 to train" in printed and "L_N (k=4), 5 rows" in printed and "(5, " in printed
