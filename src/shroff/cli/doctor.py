"""`shroff doctor`: what is wrong, in plain words, and what to do."""

from __future__ import annotations

from dataclasses import asdict

from shroff.cli.session import Session, command


@command("doctor", "shroff doctor", "shroff -C mybank doctor --json")
def doctor(session: Session) -> int:
    """Check the project, its log, its folders, the clock and the versions; print each problem and its remedy."""
    found = session.project.health.doctor()
    wrong = found.of("wrong")
    session.answer({"ok": not wrong, "findings": [asdict(one) for one in found]}, repr(found))
    session.next("shroff check" if wrong else "shroff verify")
    return 1 if wrong else 0
