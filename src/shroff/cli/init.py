"""`shroff init`: a new project that runs."""

from __future__ import annotations

from pathlib import Path

import click

from shroff import config
from shroff.cli import completion
from shroff.cli.session import Session, argument, command, one_line, table


@command("init")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--template",
    shell_complete=completion.words(*config.TEMPLATES),
    help="payments, paysim, savings, orders, cards, signals, cookbook or blank.  [default: payments]",
)
@click.option(
    "--from",
    "file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Propose the project from a sample of FILE (CSV, JSON lines or Parquet, also .gz): fields, id, time, money, "
    "labels, entities, features and a rule. Guesses are comments in its files.",
)
@click.option("--name", help="Display name, for example in mails to customers. Default: the folder's name.")
@click.option(
    "--with",
    "extra",
    type=click.Choice(["tutorial"]),
    help="tutorial: add the files of the first hour, in DIR/tutorial.",
)
def init(
    session: Session, folder: Path, template: str | None, file: Path | None, name: str | None, extra: str | None
) -> None:
    """Create a new project in DIR, a new or an empty folder. It runs without changes.

    Examples:
        shroff init mybank --template payments
        shroff init mybank --from march.csv
        shroff init . --name 'Corner Bank'
    """
    from shroff.services import project as app

    if session.folder is not None:
        raise click.UsageError(f"-C names an existing project; write 'shroff init {argument(folder)}' without it.")
    guesses: list[str] | None = None
    if file is None:
        template = template or "payments"
        project, files = app.make_project(folder, template, name, has_tutorial=extra is not None)
    elif template or extra:
        raise click.UsageError("--from proposes a project in place of a template: leave --template and --with out.")
    else:
        project, files, guesses = app.propose_project(folder, file, name)
    called = project.definitions.settings.name
    lines = [
        f"{folder}: a project from {f'the template {template}' if file is None else file}.",
        table([[path] for path in files]),
        f"Mails and reports call it {called}: 'name' in {folder / 'shroff.yaml'} changes that.",
    ]
    if guesses:
        lines += ["Guesses, as the comments in its files:", table([[one_line(guess)] for guess in guesses])]
    key = project.context.paths.hash_key
    if key.exists():
        lines.append(f"{key} is secret, and hashed values depend on it: keep a copy of it in a safe place.")
    document = {"files": files, "folder": str(project.context.paths.folder), "template": template, "name": called}
    session.answer(document if guesses is None else document | {"guesses": guesses}, "\n".join(lines))
    following = [f"shroff -C {argument(folder)} check"]
    if file is not None:
        labels = f" --labels {argument(file)}" if project.definitions.events.label.mappings else ""
        following.append(f"shroff -C {argument(folder)} ingest {argument(file)}{labels}")
    session.next(*following)
