"""`shroff serve`: the API, until it is stopped."""

from __future__ import annotations

import click

from shroff.cli.session import Session, command, many, one_line

HOST = "127.0.0.1"
PORT = 8080


@command("serve", "shroff serve", "shroff serve --host 0.0.0.0 --port 9000", "shroff serve --standby")
@click.option("--host", default=HOST, show_default=True, help="The address to listen at; 0.0.0.0 for every one.")
@click.option(
    "--port", default=PORT, show_default=True, type=click.IntRange(0, 65_535), help="The port; 0 for any that is free."
)
@click.option(
    "--standby",
    "stands_by",
    is_flag=True,
    help="Wait while another process leads this log, fold along, and take over when that one is gone.",
)
@click.option(
    "--rate",
    default=50_000.0,
    show_default=True,
    type=click.FloatRange(min=1),
    help="Events a second that one key may send; more is answered by 429.",
)
@click.option(
    "--source/--no-source",
    "reads_source",
    default=True,
    help="Read the live source of shroff.yaml between posts, or leave it.  [default: read it]",
)
@click.option(
    "--watch",
    "watches",
    is_flag=True,
    help="Apply changes of the project's files by itself, as 'shroff apply' does.",
)
def serve(
    session: Session, host: str, port: int, stands_by: bool, rate: float, reads_source: bool, watches: bool
) -> int:
    """Answer programs over HTTP: events in, decisions out, each of them durable before it is told.

    A log has one writer, so where shroff.yaml names a live source it is read here, too, in place of 'shroff run'.

    What is delivered, saved and pruned beside a worker is so here, too. Ctrl-C answers what was taken, and ends.
    """
    from shroff.people import links
    from shroff.people.access import Role
    from shroff.people.keys import all_keys
    from shroff.streams.source import shown
    from shroff.web.http.gate import gate_of
    from shroff.web.server import At, bound, serve
    from shroff.web.service import Limits, ServiceOptions

    project = session.project
    project.opened.checked()
    session.stopped = "What was answered is safe."
    with bound(At(host, port)) as listening, project.people.open() as desk, gate_of(desk) as gate:
        where = f"http://{_shown(host)}:{listening.getsockname()[1]}"
        project.opened.served_at = where
        public = project.opened.systems.public_url or where

        def begun() -> None:
            session.say(f"shroff serves {one_line(project.opened.places.folder)} at {where}")
            if (link := links.first(desk, project.opened.who)) is not None:
                session.say(f"Nobody can sign in yet. Within an hour, this makes the first admin: {public}{link}")
            if not all_keys(desk):
                session.say(f"Nobody has a key to it yet. 'shroff keys create NAME --role {Role.SERVICE}' makes one.")

        def tell(words: str) -> None:
            session.say(f"shroff: {one_line(words)}")

        options = ServiceOptions(Limits(rate=rate), stands_by=stands_by, reads_source=reads_source, watches=watches)
        service = serve(project, gate, desk, listening, options, tell=tell, begun=begun)
    work, requests = service.work, sum(service.requests.counts.values())
    document = {
        "url": where,
        "requests": requests,
        "read": work.counts.events.read,
        "appended": work.counts.events.appended,
        "decisions": work.counts.decisions,
        "by_outcome": dict(work.counts.by_outcome),
        "quarantined": work.quarantined,
        "offset": {part: shown(at) for part, at in work.offsets.items()},
        "restored": work.restored,
    }
    session.answer(document, f"{many(requests, 'request')} answered, {many(work.counts.decisions, 'decision')} made.")
    session.next("shroff export decisions")
    return 0


def _shown(host: str) -> str:
    """A host as addresses have it."""
    return f"[{host}]" if ":" in host else host
