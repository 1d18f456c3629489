"""`shroff apply`: the project's files as the active version, also in a service that runs."""

from __future__ import annotations

from difflib import unified_diff
from typing import TYPE_CHECKING, Any, Final

import click

from shroff.cli.session import Session, command, many, one_line, table

if TYPE_CHECKING:
    from shroff.log.active_files import FileDifference

LINES_MAX: Final = 200  # of one file's difference; --json has all of it
NOT_ACTIVE: Final = 1


@command("apply", "shroff apply", "shroff apply --dry-run")
@click.option("--dry-run", "only_looks", is_flag=True, help="Show what would change; change nothing.")
def apply(session: Session, only_looks: bool) -> int:
    """Check the project's files, show what changes, and make them the active version.

    Rules, features, policy, lists, tables, notices and their texts become active at once, from the next event on. This
    also holds for a running 'shroff serve' or 'shroff run'. The settings sinks, online, web, sign_in, sessions, mail
    and second_person of shroff.yaml become active at once too. Event types and all other settings take effect when
    that process restarts.

    Exit status 1 if something is not active afterwards.
    """
    from shroff.app.live.deployment import AppliedFiles
    from shroff.log.active_files import NOW, RESTART, names_of

    project = session.project
    if only_looks:
        done = AppliedFiles(project.versions.unapplied(), project.versions.active_seq())
    else:
        done = project.applying.apply(session.waits)
    later = names_of(done.changed, RESTART)
    document = {
        "changed": [_document(one) for one in done.changed],
        "seq": done.seq or None,
        "applied": not only_looks and not done.why_not,
        "why_not": done.why_not or None,
    }
    lines = [line for one in done.changed for line in _difference(one)]
    if done.changed:
        rows = [(one.file, one.change, one.takes) for one in done.changed]
        lines += [table(rows, ("file", "change", "takes effect"))]
    if done.why_not:
        lines.append(f"Not active: {done.why_not.rstrip('.')}.")
    elif only_looks or not done.changed:
        lines.append(
            f"{many(len(done.changed), 'change')} that {'is' if len(done.changed) == 1 else 'are'} not active."
        )
    else:
        count = len(names_of(done.changed, NOW))
        are = "1 change is" if count == 1 else f"{count:,} changes are"
        where = f"The version that decides has sequence number {done.seq:,}."
        lines.append(f"{are} active now. {where}")
    if later:
        lines.append(f"Restart 'shroff serve' or 'shroff run' for {one_line(', '.join(later))}.")
    session.answer(document, "\n".join(lines))
    session.next("shroff apply" if only_looks and done.changed else "shroff doctor")
    return NOT_ACTIVE if done.why_not or (only_looks and done.changed) else 0


def _document(one: FileDifference) -> dict[str, Any]:
    return {"file": one.file, "change": one.change, "takes": one.takes, "difference": _lines(one)}


def _lines(one: FileDifference) -> list[str]:
    before, after = one.before or "", one.after or ""
    return [] if before == after else list(unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=2))[2:]


def _difference(one: FileDifference) -> list[str]:
    found = [f"  {one_line(line)}" for line in _lines(one)]
    more = [f"  … and {many(len(found) - LINES_MAX, 'more line')}; --json has them all."] * (len(found) > LINES_MAX)
    return [f"{one.file}:", *found[:LINES_MAX], *more, ""] if found else []
