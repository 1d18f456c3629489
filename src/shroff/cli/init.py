"""`shroff init`: a new project that runs."""

from __future__ import annotations

from pathlib import Path

import click

from shroff import config
from shroff.cli import completion
from shroff.cli.session import Session, argument, command, table


@command("init", "shroff init mybank --template payments", "shroff init . --name 'Corner Bank'")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--template",
    default="payments",
    show_default=True,
    shell_complete=completion.words(*config.TEMPLATES),
    help="payments, paysim, savings, orders, cards, cookbook or blank.",
)
@click.option("--name", help="Display name, for example in mails to customers. Default: the folder's name.")
@click.option(
    "--with",
    "extra",
    type=click.Choice(["tutorial"]),
    help="tutorial: add the files of the first hour, in DIR/tutorial.",
)
def init(session: Session, folder: Path, template: str, name: str | None, extra: str | None) -> None:
    """Create a new project in DIR, a new or an empty folder. It runs without changes."""
    from shroff.app import project as app

    if session.folder is not None:
        raise click.UsageError(f"-C names an existing project; write 'shroff init {argument(folder)}' without it.")
    project, files = app.make_project(folder, template, name, has_tutorial=extra is not None)
    called = project.definitions.settings.name
    lines = [
        f"{folder}: a project from the template {template}.",
        table([[file] for file in files]),
        f"Mails and reports call it {called}: 'name' in {folder / 'shroff.yaml'} changes that.",
    ]
    key = project.context.paths.hash_key
    if key.exists():
        lines.append(f"{key} is secret, and hashed values depend on it: keep a copy of it in a safe place.")
    session.answer(
        {"files": files, "folder": str(project.context.paths.folder), "template": template, "name": called},
        "\n".join(lines),
    )
    session.next(f"shroff -C {argument(folder)} check")
