"""`shroff notebook`: a valid notebook about the user's own project, every cell of which runs."""

from __future__ import annotations

import ast
import json
import re
import subprocess
from pathlib import Path

import msgspec
import pytest

from shroff.cli.main import main
from shroff.examples.bank import Payment, bank, known_at_the_end, with_labels
from shroff.services import project as app
from tests.support import forks

PAYMENTS = 15_000
# Runs the code cells of a notebook as Jupyter does: in its folder, what an expression at the end gives is shown.
RUNNER = """
import ast, json, sys
names = {"__name__": "__main__"}
for cell in json.load(open(sys.argv[1], encoding="utf-8"))["cells"]:
    if cell["cell_type"] != "code":
        continue
    tree = ast.parse("".join(cell["source"]))
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, cell["id"], "exec"), names)
    if last is not None:
        value = eval(compile(ast.Expression(last.value), cell["id"], "eval"), names)
        shown = getattr(value, "_repr_html_", lambda: "")()
        print(f"<cell>{value!r}{shown}</cell>" if not shown else f"<cell>{shown}</cell>")
"""


def write_notebook(*arguments: str, capsys) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as left:
        main([*arguments])
    out, error = capsys.readouterr()
    return int(left.value.code or 0), out, error


def cells(path: Path) -> list[dict]:
    return json.loads(path.read_text(encoding="utf-8"))["cells"]


def code(path: Path) -> str:
    return "\n".join("".join(cell["source"]) for cell in cells(path) if cell["cell_type"] == "code")


@pytest.fixture
def learnable(tmp_path):
    """A project with eight weeks of payments and labels, whose model is learnt within seconds."""
    project, _ = app.make_project(tmp_path / "bank", "payments")
    path = project.context.paths.folder / "model.yaml"
    text = path.read_text(encoding="utf-8").replace("learner: xgboost", "learner: logistic")
    path.write_text(re.sub(r"(?m)^  split:.*$", "  split: { train: 28d, delay: 7d, test: 7d, folds: 1 }", text))
    lines = [
        msgspec.json.encode({"payment" if isinstance(item, Payment) else "label": item.event})
        for item in known_at_the_end(with_labels(bank(PAYMENTS, 1), 1), PAYMENTS)
    ]
    file = tmp_path / "past.jsonl"
    file.write_bytes(b"\n".join(lines))
    project.context.reload()
    assert project.ingest(file).events.quarantined == 0
    return project


@pytest.mark.slow
@pytest.mark.long  # the notebook of the tutorial runs each cell, too
def test_every_cell_runs_and_shows_what_it_is_about(learnable, capsys):
    folder = learnable.context.paths.folder
    status, out, _ = write_notebook("-C", str(folder), "notebook", "--json", capsys=capsys)
    file = Path(json.loads(out)["file"])

    ran = subprocess.run(
        [forks.PYTHON, "-c", RUNNER, str(file)], cwd=file.parent, capture_output=True, text=True, check=False
    )

    assert status == 0
    assert ran.returncode == 0, ran.stderr
    assert "15,000 events of the type payment" in ran.stdout
    for shown in ("card.spent_24h", "chargeback", "average_precision", "rules_only", "cheapest", "leak_test", "review"):
        assert shown in ran.stdout, shown
    assert len(learnable.models.all()) == 1
    assert learnable.models.all()[0].role == ""


def test_the_notebook_has_the_form_that_notebooks_have(tmp_path, capsys):
    project, _ = app.make_project(tmp_path / "bank", "payments")
    write_notebook("-C", str(project.context.paths.folder), "notebook", capsys=capsys)
    found = json.loads((project.context.paths.folder / "notebook.ipynb").read_text(encoding="utf-8"))

    # nbformat 4.5: what its schema requires of a notebook and of each of the two kinds of cells.
    assert (found["nbformat"], found["nbformat_minor"]) == (4, 5)
    assert set(found) == {"cells", "metadata", "nbformat", "nbformat_minor"}
    assert {"name", "display_name"} <= set(found["metadata"]["kernelspec"])
    ids = [cell["id"] for cell in found["cells"]]
    assert len(set(ids)) == len(ids)
    for cell in found["cells"]:
        assert re.fullmatch(r"[a-zA-Z0-9-_]{1,64}", cell["id"])
        assert all(isinstance(line, str) for line in cell["source"])
        own = {"execution_count", "outputs"} if cell["cell_type"] == "code" else set()
        assert set(cell) == {"cell_type", "id", "metadata", "source"} | own
        if own:
            ast.parse("".join(cell["source"]))


def test_a_notebook_elsewhere_opens_the_project_from_there(tmp_path, capsys):
    project, _ = app.make_project(tmp_path / "bank", "blank")
    (tmp_path / "notes").mkdir()
    file = tmp_path / "notes" / "mine.ipynb"
    status, _, _ = write_notebook("-C", str(project.context.paths.folder), "notebook", str(file), capsys=capsys)

    assert status == 0
    assert 'shroff.open("../bank")' in code(file)


def test_what_a_project_does_not_have_has_no_cell(tmp_path, capsys):
    app.make_project(tmp_path / "bank", "blank")
    write_notebook("-C", str(tmp_path / "bank"), "notebook", capsys=capsys)
    text = code(tmp_path / "bank" / "notebook.ipynb")

    assert "project.train" not in text
    assert "project.cutoffs.thresholds" not in text
    assert 'project.features("payment")' in text


def test_nothing_is_overwritten_and_names_are_checked(tmp_path, capsys):
    app.make_project(tmp_path / "bank", "savings")
    folder = str(tmp_path / "bank")
    file = tmp_path / "bank" / "notebook.ipynb"
    file.write_text("mine", encoding="utf-8")

    status, _, error = write_notebook("-C", folder, "notebook", capsys=capsys)
    assert (status, file.read_text(encoding="utf-8")) == (2, "mine")
    assert "exists already and is not overwritten" in error

    file.unlink()
    status, _, error = write_notebook("-C", folder, "notebook", "--as", "savings", capsys=capsys)
    assert (status, file.exists()) == (2, False)
    assert "no event type 'savings'" in error
    assert "saving" in error

    status, _, error = write_notebook("-C", folder, "notebook", str(tmp_path / "none" / "a.ipynb"), capsys=capsys)
    assert status == 2
    assert "there is no folder" in error
