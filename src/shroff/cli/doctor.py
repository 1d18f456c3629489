"""`shroff doctor`: what is wrong, in plain words, and what to do."""

from __future__ import annotations

from dataclasses import asdict

from shroff.cli.session import Session, command, many, one_line, table


@command("doctor", "shroff doctor", "shroff -C mybank doctor --json")
def doctor(session: Session) -> int:
    """Check the project, its log, its folders, the clock and the versions; print each problem and its remedy."""
    found = session.project.health.doctor()
    wrong = [one for one in found if one.state == "wrong"]
    notes = [one for one in found if one.state == "note"]
    rows = [(_MARKS[one.state], one.subject, one.words) for one in found]
    text = table(rows, indent="")
    for one in (*wrong, *notes):
        text += f"\n\n{one.subject}: {one_line(one.words)}\n  {one_line(one.cure)}" if one.cure else ""
    text += f"\n\n{many(len(wrong), 'thing is wrong.', 'things are wrong.') if wrong else 'Nothing is wrong.'}"
    session.answer({"ok": not wrong, "findings": [asdict(one) for one in found]}, text)
    session.next("shroff check" if wrong else "shroff verify")
    return 1 if wrong else 0


_MARKS = {"ok": "ok", "note": "note", "wrong": "WRONG"}
