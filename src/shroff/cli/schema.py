"""`shroff schema`: write JSON Schemas of project files for editors. Subcommands handle Avro schemas of messages."""

from __future__ import annotations

from pathlib import Path

import click

from shroff.cli import schema_avro
from shroff.cli.session import ExampleGroup, Session, json_option, table
from shroff.errors import UsageError, os_words


@click.group("schema", cls=ExampleGroup, invoke_without_command=True)
@click.option(
    "--out",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="The folder for the JSON Schema files; it is created if missing.",
)
@json_option
@click.pass_context
def schema(context: click.Context, out: Path | None) -> None:
    """Write the JSON Schema of each kind of project file, for completion and checks in editors.

    The reference shows how to set up an editor. No project is needed. The subcommands are about Avro schemas of
    messages.
    """
    if context.invoked_subcommand is not None:
        return
    if out is None:
        raise UsageError(
            "name a folder with --out DIR; for schemas of Avro messages there are check, diff, register, show."
        )
    _write(context.obj, out)


schema.examples = ("shroff schema --out schemas", "shroff schema check")
for command in schema_avro.COMMANDS:
    schema.add_command(command)


def _write(session: Session, out: Path) -> None:
    import json

    from shroff.errors import StorageError
    from shroff.notices.keys import NOTICE_FILE
    from shroff.project.schema import project_files, schema_of

    files = (*project_files(), NOTICE_FILE)
    try:
        out.mkdir(parents=True, exist_ok=True)
        for file in files:
            text = json.dumps(schema_of(file), indent=2, ensure_ascii=False) + "\n"
            (out / file.schema_file).write_text(text, encoding="utf-8")
    except OSError as error:
        raise StorageError(os_words(error, error.filename or out, " cannot be written")) from None
    rows = [(str(out / file.schema_file), file.place) for file in files]
    document = {"files": [{"file": name, "of": place} for name, place in rows]}
    session.answer(document, table(rows, ("schema", "of")))
    session.next("shroff check")
