"""`shroff capacity`: how large a machine do these events need."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from shroff.cli import completion
from shroff.cli.session import Session, command, many, table


@command(
    "capacity",
    "shroff capacity --per-day 2000000 --peak 200 --keep 400d",
    "shroff capacity payments.csv --as payment --per-day 2000000 --peak 200 --json",
)
@click.argument("files", metavar="[FILE...]", nargs=-1, type=click.Path(path_type=Path))
@click.option("--per-day", metavar="N", type=float, required=True, help="Events per day.")
@click.option("--peak", metavar="N", type=float, required=True, help="Events per second at the busiest time.")
@click.option("--keep", metavar="DURATION", help="How long events stay in the log.  [default: 'keep:', else 400d]")
@click.option(
    "--as",
    "as_type",
    metavar="EVENT",
    shell_complete=completion.event_types_and_labels,
    help="The event type of every line.  [default: each line names its own]",
)
def capacity(
    session: Session, files: tuple[Path, ...], per_day: float, peak: float, keep: str | None, as_type: str | None
) -> None:
    """Estimate processes, cores, memory and disk for a rate of events.

    A sample is decided twice in a temporary log on this machine, with the project's features, rules and models, and
    measured: the newest 20,000 events of the log, or those of files. A file should have 20,000 events or more. The
    log is not changed.
    """
    from shroff.runtime.texts import bytes_text

    machine = session.project.health.capacity(per_day, peak, keep=keep, files=files, as_type=as_type)
    measured = machine.measured
    found = [
        ("events per second", f"{measured.rate:,.0f}", "one process on this machine, durable"),
        ("disk per event", bytes_text(round(measured.log_bytes)), "event, decision, flags, indexes"),
        ("state per event", bytes_text(round(measured.state_bytes)), _reach(measured.reach_days)),
    ]
    needs = [
        ("processes", str(machine.processes), "each busy up to 60% at the peak"),
        ("cores", str(machine.cores), ""),
        ("memory", bytes_text(machine.memory_bytes), ""),
        ("disk", bytes_text(machine.disk_bytes), f"for {machine.rate.keep_days:,.0f} days, without lake and backups"),
    ]
    head = f"Measured with {many(measured.events, 'event')}:"
    want = f"{per_day:,.0f} events a day, at most {peak:,.0f} a second, need:"
    text = "\n".join([head, table(found), want, table(needs)])
    session.answer(asdict(machine), text)


def _reach(days: float | None) -> str:
    return "some windows have no end" if days is None else f"for the longest window, {days:,.3g} days"
