"""`shroff doctor`: what is wrong, in plain words, and what to do."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from shroff.cli.session import Session, command, one_line


@command("doctor", "shroff doctor", "shroff -C mybank doctor --json", "shroff doctor --bundle report.zip")
@click.option(
    "--bundle",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Also write a bug report: a ZIP file with versions, settings without secrets, counts, the last unexpected "
    "errors and these findings.",
)
def doctor(session: Session, bundle: Path | None) -> int:
    """Check the project, its log, its folders, the clock and the versions; print each problem and its remedy."""
    found = session.project.health.doctor()
    wrong = found.of("wrong")
    packed = {}
    if bundle is not None:
        packed = {"bundle": str(bundle), "parts": session.project.health.bug_report(found, bundle)}
    session.answer({"ok": not wrong, "findings": [asdict(finding) for finding in found], **packed}, repr(found))
    if bundle is not None:
        session.say(
            f"The bug report is in {one_line(bundle)}. It has no events and no secrets; read it before you send it."
        )
    session.next("shroff check" if wrong else "shroff verify")
    return 1 if wrong else 0
