"""`shroff notebook`: write a notebook about the user's project."""

from __future__ import annotations

import os
from pathlib import Path

import click

from shroff import config
from shroff.cli import completion
from shroff.cli.session import Session, argument, command
from shroff.errors import UsageError

FILE = "notebook.ipynb"


@command("notebook")
@click.argument("file", metavar="[FILE]", required=False, type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--as",
    "event",
    metavar="EVENT",
    shell_complete=completion.event_types,
    help="The notebook's event type.  [default: one with a model]",
)
def notebook(session: Session, file: Path | None, event: str | None) -> None:
    """Write a notebook about the project: events, features, labels, a model, thresholds, one decision.

    FILE is notebook.ipynb in the project's folder by default; an existing file is not overwritten. The cells call the
    same functions as the commands. Nothing in the notebook changes what decides.

    Examples:
        shroff notebook
        shroff notebook analysis/march.ipynb --as payment
    """
    from shroff.cli.notebook_file import notebook_of

    project = session.project
    path = project.context.paths.folder / FILE if file is None else file
    if path.exists():
        raise UsageError(f"{path} exists already and is not overwritten. Choose another file.")
    if not path.absolute().parent.is_dir():
        raise UsageError(f"there is no folder {path.parent} for the notebook.")
    folder = Path(os.path.relpath(project.context.paths.folder, path.resolve().parent)).as_posix()
    config.write_text(path, notebook_of(project.definitions, folder, event))
    session.answer({"file": str(path)}, f"{path} is written. Open it in Jupyter or VS Code.")
    session.next(f"jupyter lab {argument(path)}")
