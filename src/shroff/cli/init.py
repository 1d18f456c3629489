"""`shroff init`: create a project from a template or from a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from shroff import config
from shroff.cli import completion
from shroff.cli.session import Session, argument, command, one_line, table

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shroff.services.proposals.proposing import ProposedProject


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
    help="Propose the project from FILE (CSV, JSON lines, XML or Parquet, also compressed): fields, id, time, money, "
    "labels, entities, features and a rule. It is tried with the whole file first. Guesses are comments in its files.",
)
@click.option(
    "--role",
    "roles",
    metavar="ROLE=COLUMN",
    multiple=True,
    help="With --from: the column of a role, which is id, time, money, currency, label, label_time or entity; cents or "
    "units is money in smallest units, or not. currency=USD, zone=Europe/Berlin, first=month (or day, in dates) and "
    "since=2026-03-01 (of times that count from a day) settle what no column has. "
    "Can be repeated.",
)
@click.option(
    "--ignore", "ignored", metavar="COLUMN", multiple=True, help="With --from: leave a column out. Can be repeated."
)
@click.option("--name", help="Display name, for example in mails to customers. Default: the folder's name.")
@click.option(
    "--with",
    "extra",
    type=click.Choice(["tutorial"]),
    help="tutorial: add the files of the first hour, in DIR/tutorial.",
)
def init(
    session: Session,
    folder: Path,
    template: str | None,
    file: Path | None,
    roles: tuple[str, ...],
    ignored: tuple[str, ...],
    name: str | None,
    extra: str | None,
) -> None:
    """Create a new project in DIR, a new or an empty folder. It runs without changes.

    Examples:
        shroff init mybank --template payments
        shroff init mybank --from march.csv
        shroff init mybank --from march.csv --role time=booked_at --ignore note
        shroff init . --name 'Corner Bank'
    """
    from shroff.services import project as app

    if session.folder is not None:
        raise click.UsageError(f"-C names an existing project; write 'shroff init {argument(folder)}' without it.")
    if file is None and (roles or ignored):
        raise click.UsageError("--role and --ignore are for --from FILE.")
    proposal: ProposedProject | None = None
    if file is None:
        template = template or "payments"
        project, files = app.make_project(folder, template, name, has_tutorial=extra is not None)
    elif template or extra:
        raise click.UsageError("--from proposes a project in place of a template: leave --template and --with out.")
    else:
        project, files, proposal = app.propose_project(folder, file, name, roles=_by_role(roles), ignored=ignored)
    display_name = project.definitions.settings.name
    lines = [
        f"{folder}: a project from {f'the template {template}' if file is None else file}.",
        table([[path] for path in files]),
        f"Mails and reports call it {display_name}: 'name' in {folder / 'shroff.yaml'} changes that.",
    ]
    if proposal is not None:
        lines += _proposal_lines(proposal)
    key = project.context.paths.hash_key
    if key.exists():
        lines.append(f"{key} is secret, and hashed values depend on it: keep a copy of it in a safe place.")
    document = {"files": files, "folder": str(project.context.paths.folder), "template": template, "name": display_name}
    if proposal is not None:
        document |= {name: getattr(proposal, name) for name in ("guesses", "columns", "tried", "questions")}
    session.answer(document, "\n".join(lines))
    following = [f"shroff -C {argument(folder)} check"]
    if file is not None:
        labels = f" --labels {argument(file)}" if project.definitions.events.label.mappings else ""
        following.append(f"shroff -C {argument(folder)} ingest {argument(file)}{labels}")
    session.next(*following)


def _by_role(roles: Iterable[str]) -> dict[str, str]:
    """Return columns by role. Raises: UsageError for a text that is not ROLE=COLUMN."""
    from shroff.services.proposals.roles import ROLES

    columns: dict[str, str] = {}
    for text in roles:
        role, _, column = text.partition("=")
        if role not in ROLES or not column:
            raise click.UsageError(f"--role {text}: write ROLE=COLUMN; roles are {', '.join(ROLES)}.")
        columns[role] = column
    return columns


def _proposal_lines(proposal: ProposedProject) -> list[str]:
    rows = [
        [
            column["column"],
            column["role"] or "",
            column["type"] or (f"left out: {column['reason']}" if column["reason"] and not column["role"] else ""),
            ", ".join(column["also"]),
            column["example"] or (column["role"] and column["reason"]) or "",
        ]
        for column in proposal.ranked_columns
    ]
    lines = ["Columns:", table(rows, ["column", "role", "type", "also", "read as"])]
    lines.append(f"Tried with the file: {proposal.summary}.")
    if proposal.guesses:
        lines += ["Guesses, as the comments in its files:", table([[one_line(guess)] for guess in proposal.guesses])]
    if proposal.questions:
        settled = "--role ROLE=COLUMN or --ignore COLUMN settles a choice"
        lines += [
            f"Please look at ({settled}):",
            table([[question["role"], one_line(question["why"])] for question in proposal.questions]),
        ]
    return lines
