"""`shroff serve`: run the HTTP service until it is stopped."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import click

from shroff import __version__
from shroff.cli.session import Session, command, many, one_line
from shroff.errors import UsageError
from shroff.runtime import logs, traces
from shroff.services.project_files import checked

HOST = "127.0.0.1"
OWN_HOSTS = {HOST, "::1", "localhost"}  # reachable only from this machine
PORT = 8080


@command("serve")
@click.option("--host", default=HOST, show_default=True, help="The address to listen on; 0.0.0.0 for all.")
@click.option(
    "--port", default=PORT, show_default=True, type=click.IntRange(0, 65_535), help="Port; 0 for any free one."
)
@click.option(
    "--standby",
    "stands_by",
    is_flag=True,
    help="Run as standby: follow the log while another process writes it, and take over if that one stops.",
)
@click.option(
    "--rate",
    default=50_000.0,
    show_default=True,
    type=click.FloatRange(min=1),
    help="Rate limit of one API key in events per second; above it, requests get status 429.",
)
@click.option(
    "--source/--no-source",
    "reads_source",
    default=True,
    help="Read the live source of shroff.yaml between requests, or not.  [default: read it]",
)
@click.option(
    "--watch",
    "watches",
    is_flag=True,
    help="Apply changes of the project's files automatically, as 'shroff apply' does.",
)
@click.option(
    "--organizations",
    "folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Also serve each project in this folder, at /o/NAME, for people who sign in here.",
)
@click.option(
    "--sign-in", "sign_in_name", metavar="NAME", help="Print a link that signs this user in once, within an hour."
)
def serve(
    session: Session,
    host: str,
    port: int,
    rate: float,
    sign_in_name: str | None,
    folder: Path | None,
    **how: Any,  # stands_by, reads_source, watches: as in ServiceOptions
) -> int:
    """Run the HTTP service: it takes events and returns decisions, each one durable before it is returned.

    A log has one writer. If shroff.yaml names a live source, the service reads it too, instead of 'shroff run'. Like a
    worker, the service also delivers to sinks, saves state and prunes. In an empty folder, on an address of this
    machine and without JSON logs, it first serves a page that makes the project from a file. Ctrl-C answers the
    accepted requests, then stops.

    Examples:
        shroff serve
        shroff serve --host 0.0.0.0 --port 9000
        shroff serve --standby
        shroff serve --sign-in ann
        shroff serve --organizations ../banks
    """
    from shroff.cli.demo_kernels import LIVE, kernels_beside
    from shroff.events.hash_keys import read_key
    from shroff.people import links
    from shroff.people.access import Role
    from shroff.people.keys import all_keys
    from shroff.project.policy import OUTCOMES
    from shroff.streams.source import shown
    from shroff.web.server import At, Limits, ServiceOptions, bound, first_run, gate_of, projects_in, serve

    is_own = host in OWN_HOSTS and not logs.is_json()
    empty = session.empty_folder() if is_own else None
    if empty is None:
        checked(session.project.context)
    with ExitStack() as resources:
        listening = resources.enter_context(bound(At(host, port)))
        where = f"http://{_shown(host)}:{listening.getsockname()[1]}"
        if empty is not None:
            session.stopped = "A project that was created is kept; 'shroff ingest FILE' reads the rest of its file."
            first_run(empty, listening, where, session.say)
        project = session.project
        session.stopped = "Answered events are stored."
        key = project.context.paths.hash_key
        if key.exists():
            read_key(key)  # fail now rather than later: nothing is decided without the key
        others = None if folder is None else partial(projects_in, folder, project.context.paths.folder)
        if others is not None:
            others()  # fail now rather than later
        desk = resources.enter_context(project.people.open())
        gate = resources.enter_context(gate_of(desk))
        project.context.served_at = where
        public = project.context.systems.public_url or where
        if sign_in_name is not None and logs.is_json():
            raise UsageError("--sign-in prints a link that signs somebody in; logs as JSON do not get one.")
        sign_in_link = None
        if sign_in_name is not None:
            sign_in_link = links.for_signing_in(desk, project.context.who, sign_in_name)

        def begun() -> None:
            session.say(f"shroff serves {one_line(project.context.paths.folder)} at {where}")
            # Others may read JSON logs, so these must not contain a link that makes an admin
            link = None if logs.is_json() else links.first(desk, project.context.who)
            if logs.is_json():
                session.say("A first admin is created with 'shroff users add NAME --role admin' if there is none.")
            elif link is not None:
                session.say(
                    f"No user exists yet. Open this link within one hour to create the first admin:\n{public}{link}"
                )
            if sign_in_link is not None:
                session.say(
                    f"Open this link within one hour to sign in as {sign_in_name}, once:\n{public}{sign_in_link}"
                )
            if not all_keys(desk):
                session.say(f"No API key exists yet. Create one: shroff keys create NAME --role {Role.SERVICE}")

        chosen = ServiceOptions(Limits(rate=rate), projects=others, **how)
        # Missing kernels are compiled meanwhile, in a process of low priority
        with traces.exporting(__version__), kernels_beside(listed=LIVE, gives_way=True):
            service = serve(project, gate, desk, listening, chosen, tell=logs.tell, begun=begun)
    work = service.work
    organizations = service.options.organizations
    totals = work.totals + Counter(requests=service.requests.counts.total())
    if organizations is not None:
        totals.update(organizations.totals)
    document = {
        "url": where,
        "requests": totals["requests"],
        "read": totals["read"],
        "appended": totals["appended"],
        "decisions": totals["decisions"],
        "by_outcome": {name: totals[name] for name in OUTCOMES if totals[name]},
        "quarantined": totals["quarantined"],
        "offset": {part: shown(at) for part, at in work.offsets.items()},
        "restored": work.restored,
    }
    words = f"{many(totals['requests'], 'request')} answered, {many(totals['decisions'], 'decision')} made."
    session.answer(document, words)
    session.next("shroff export decisions")
    return 0


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host
