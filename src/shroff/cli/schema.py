"""`shroff schema`: the JSON Schema of project files, for editors."""

from __future__ import annotations

from pathlib import Path

import click

from shroff.cli.session import Session, command, table


@command("schema", "shroff schema --out schemas")
@click.option(
    "--out",
    metavar="DIR",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="The folder to write into; it is made where it is not there.",
)
def schema(session: Session, out: Path) -> None:
    """Write the JSON Schema of each kind of project file, so that editors complete, explain and check them.

    The reference says how an editor is told of them. It needs no project.
    """
    import json

    from shroff.decisions.schema import FILES, schema_of
    from shroff.errors import StorageError

    try:
        out.mkdir(parents=True, exist_ok=True)
        for file in FILES:
            text = json.dumps(schema_of(file), indent=2, ensure_ascii=False) + "\n"
            (out / file.schema_file).write_text(text, encoding="utf-8")
    except OSError as error:
        raise StorageError(f"{error.filename or out} cannot be written: {error.strerror}") from None
    rows = [(str(out / file.schema_file), file.place) for file in FILES]
    document = {"files": [{"file": name, "of": place} for name, place in rows]}
    session.answer(document, table(rows, ("schema", "of")))
    session.next("shroff check")
