"""What `shroff models import` does and answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from shroff.cli.progress import bars
from shroff.cli.session import Session, many
from shroff.cli.train import FAILED, tell
from shroff.errors import UsageError


def answer(session: Session, file: Path, rows: Path | None, *, categories: tuple[str, ...], **options: Any) -> int:
    """Take a model in and tell what was found; gives the exit code."""
    from shroff.training.foreign.importing import IMPORTED
    from shroff.training.foreign.inputs import categories_in
    from shroff.training.foreign.rows import SNIPPET
    from shroff.training.train import Steps

    if rows is None:
        raise UsageError(f"--check names rows with the model's own scores, by which it is checked, such as {SNIPPET}.")
    done = 0

    with bars("reading, events", "judging, folds") as (reading, judging):

        def fold_done(number: int, _of: int) -> None:
            nonlocal done
            judging(number - done)
            done = number

        report = session.project.import_model(
            file, check=rows, categories=categories_in(categories), steps=Steps(reading, fold_done), **options
        )
    origin = report.stored.manifest[IMPORTED]
    checked = origin["checked"]
    made = (
        f"{origin['source']} from {origin['file']}, {many(checked['rows'], 'row')} of {checked['file']} reproduced"
        f" (at most {checked['worst']:.1g} off)"
    )
    tell(session, report, {IMPORTED: origin}, made)
    return 0 if report.passed else FAILED
