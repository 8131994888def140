"""The notebook in examples/ runs from top to bottom, here on small data."""

import pathlib
import re

import nbclient
import nbformat
import pytest

import bundles

ROOT = pathlib.Path(__file__).parent.parent
PATH = ROOT / "examples" / "performance_rnn.ipynb"


@pytest.fixture
def notebook():
    return nbformat.read(PATH, as_version=4)


def output_of(notebook, cell_id):
    (cell,) = (cell for cell in notebook.cells if cell["id"] == cell_id)
    return "".join(o.get("text", "") or o["data"].get("text/html", "") for o in cell.outputs)


def test_it_is_kept_without_outputs(notebook):
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert len(code) > 8
    assert not [cell for cell in code if cell.outputs or cell.execution_count]


def test_it_stops_where_a_tool_fails(notebook, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    source = {cell["id"]: cell.source for cell in notebook.cells}
    shell = [text for text in source.values() if re.search("^!", text, re.MULTILINE)]
    assert len(shell) == 3
    assert all("\nassert _exit_code == 0, " in text for text in shell)
    lines = ["MIDI_FOLDER = 'nowhere'", source["dataset"]]
    notebook.cells = [nbformat.v4.new_code_cell(text) for text in lines]
    client = nbclient.NotebookClient(notebook, resources={"metadata": {"path": str(tmp_path)}})
    with pytest.raises(nbclient.exceptions.CellExecutionError, match="Upload a folder of piano"):
        client.execute()


@pytest.mark.slow
def test_it_runs(notebook, asap_dir, tmp_path, monkeypatch):
    # The kernel, and the tools that it starts, are to run this code wherever it is.
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    (number,) = (
        n for n, cell in enumerate(notebook.cells) if "parameters" in cell.metadata.get("tags", ())
    )
    small = {
        "SECONDS": 2, "MIDI_FOLDER": str(asap_dir / "Bach"), "TRAINING_STEPS": 2, "LAYERS": "[8]",
    }  # fmt: skip
    known = {line.partition(" = ")[0] for line in notebook.cells[number].source.splitlines()}
    assert known == small.keys()
    lines = "\n".join(f"{name} = {value!r}" for name, value in small.items())
    notebook.cells.insert(number + 1, nbformat.v4.new_code_cell(lines))
    nbclient.NotebookClient(
        notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}
    ).execute()

    for cell_id in ("generate", "primer", "controls", "play-bundle"):
        shown = output_of(notebook, cell_id)
        assert "data:audio/wav;base64," in shown
        assert "data:image/png;base64," in shown
    assert output_of(notebook, "stream").count("NoteMessage(time=") == 5
    assert re.search(
        r"training_performances\.tfrecord: \d+ examples", output_of(notebook, "dataset")
    )
    assert "at step 2, checkpoints in work/run/train" in output_of(notebook, "train")
    bundle = bundles.read_bundle(tmp_path / "work" / "mine.mag")
    assert (bundle.layer_sizes, bundle.bundle_description) == ([8], "Trained in a notebook.")
    assert (tmp_path / "work" / "piece.mid").read_bytes().startswith(b"MThd")
