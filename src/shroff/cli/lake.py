"""`shroff lake`: files for analysis, in a folder or a bucket."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from msgspec import to_builtins

from shroff.cli.options import cluster_options
from shroff.cli.progress import bars
from shroff.cli.session import ExampleGroup, Session, command, json_option, many
from shroff.errors import UsageError

Function = TypeVar("Function", bound=Callable[..., Any])
SHOWN: int = 20  # problems that people are shown


@click.group("lake", cls=ExampleGroup, no_args_is_help=False)
@json_option
def lake() -> None:
    """Write and check the lake: events, decisions, features, labels, flags and hits as Parquet or JSON.

    The lake is a folder, s3://bucket/prefix, gs://bucket/prefix or az://container/prefix; 'lake:' in shroff.yaml or
    --to names it. It follows the log and keeps its own manifests. Files that 'shroff lake files' does not list are
    not part of it.
    """


lake.examples = ("shroff lake write --to ./lake", "shroff lake files --json")


def at(function: Function) -> Function:
    """Add `--to`."""
    words = (
        "A folder, s3://bucket/prefix, gs://bucket/prefix or az://container/prefix.  [default: 'lake' in shroff.yaml]"
    )
    return click.option("--to", metavar="PLACE", help=words)(function)


@command("write", "shroff lake write", "shroff lake write --to s3://mybank/shroff", group=lake)
@at
def write(session: Session, to: str | None) -> None:
    """Append new records of the log to the lake, exactly once even if interrupted and repeated.

    It can run while other processes write the log or the same lake.
    """
    from shroff.monitoring.doctor import bytes_text

    with session.project.lake.open(to) as found, bars("writing, places") as (progress,):
        written = found.write(progress)
        address = found.address
    document = {"lake": address, **to_builtins(written), "seconds": round(written.seconds, 3)}
    rows = ", ".join(f"{count:,} {kind}" for kind, count in sorted(written.rows.items()))
    documents = ", ".join(f"{count:,} in {folder}/" for folder, count in sorted(written.documents.items()))
    text = f"{address}: the log up to sequence number {written.upto:,}."
    if written.files:
        text += f"\n  {many(written.files, 'file')} of {bytes_text(written.bytes)}: {rows}."
    if documents:
        text += f"\n  documents: {documents}."
    if not written.commits:
        text += " There was nothing to write."
    session.answer(document, text)
    session.next("shroff lake files", "shroff lake compact")


@command("compact", "shroff lake compact", "shroff lake compact --grace 0s", group=lake)
@at
@click.option("--least", type=int, metavar="N", help="Compact days with at least this many small files.  [default: 4]")
@click.option(
    "--grace",
    metavar="DURATION",
    default="1d",
    show_default=True,
    help="Retention of replaced files, for readers with an older list.",
)
def compact(session: Session, to: str | None, least: int | None, grace: str) -> int:
    """Merge the small files of a day, and remove replaced files and those of killed writers.

    Files are removed only after --grace.
    """
    with session.project.lake.open(to) as found:
        done = found.compact(files_min=least, grace=grace)
        address = found.address
    damaged = sorted(set(done.damaged))
    document = {"lake": address, **to_builtins(done), "damaged": damaged}
    text = f"{address}: {many(done.merged, 'file')} merged into {done.made:,}, {done.removed:,} removed."
    if damaged:
        text += f"\n  {many(len(damaged), 'file')} left as damaged: {damaged[0]}."
    session.answer(document, text)
    session.next("shroff lake check")
    return 1 if damaged else 0


@command("publish", "shroff lake publish", "shroff lake publish --to s3://mybank/shroff --json", group=lake)
@at
def publish(session: Session, to: str | None) -> int:
    """Publish the lake as Delta Lake or Iceberg tables, up to its last manifest.

    Exit status 1 if a table could not continue.

    'delta: true' or 'catalog:' under 'lake' in shroff.yaml does this after each commit; without them, this command
    makes Delta tables. A repeated run continues from the tables' state, and several may run at once. Readers of the
    tables see each row once, even during compaction.
    """
    with session.project.lake.open(to) as found:
        done = found.publish()
        address = found.address
    document = {"lake": address, "formats": to_builtins(done)}
    lines = [address]
    for published in done:
        commits = many(sum(published.commits.values()), "new commit")
        lines.append(f"{published.tables} are at manifest {published.manifest:,}, {commits}.")
        lines += [f"  {table}: version {version:,}" for table, version in published.versions.items()]
        lines += [f"  {problem}" for problem in published.problems]
    session.answer(document, "\n".join(lines))
    session.next("shroff lake files")
    return 1 if any(published.problems for published in done) else 0


@command("check", "shroff lake check", "shroff lake check --to gs://mybank/shroff --json", group=lake)
@at
def check(session: Session, to: str | None) -> int:
    """Verify the lake: fetch every file, and compare its hash and sequence numbers. Exit status 1 on a mismatch.

    Each position of the log must occur exactly once. JSON documents are checked too: each must match its row in the
    lake, or in the log if the lake has documents only.
    """
    from shroff.monitoring.doctor import bytes_text

    with session.project.lake.open(to) as found, bars("checking, files") as (progress,):
        report = found.check(progress)
        address = found.address
    document = {"lake": address, "ok": not report.problems, **to_builtins(report)}
    parts = [many(report.files, "file"), many(report.rows, "row")]
    if report.documents:
        parts.append(many(report.documents, "document"))
    if report.documents_unchecked:
        parts.append(f"{many(report.documents_unchecked, 'document')} not checked, as their rows are gone")
    what = ", ".join([*parts, bytes_text(report.bytes)])
    told = "".join(f"\n  {problem}" for problem in report.problems[:SHOWN])
    words = "nothing is wrong." if not report.problems else f"{many(len(report.problems), 'problem')}:{told}"
    session.answer(document, f"{address}: {what}, up to sequence number {report.upto:,}; {words}")
    return 1 if report.problems else 0


@command("files", "shroff lake files events/type=payment", "shroff lake files --json", group=lake)
@click.argument("folder", default="")
@at
def files(session: Session, folder: str, to: str | None) -> None:
    """List the current files of the lake, one per line: all, or those of a FOLDER such as events/type=payment."""
    with session.project.lake.open(to) as found:
        named = found.files(folder)
        state, address = found.state, found.address
    start = address.rstrip("/")
    document = {
        "lake": address,
        "manifest": state.number,
        "upto": state.upto,
        "files": [
            {
                "file": f"{start}/{file.path}",
                "rows": file.rows,
                "bytes": file.bytes,
                "sha256": file.sha256,
                "first": file.first,
                "last": file.last,
            }
            for file in named
        ],
    }
    if session.is_json:
        session.answer(document, "")
        return
    for file in named:
        session.show(f"{start}/{file.path}")
    session.flush()
    session.next("shroff lake check")


@command(
    "decide",
    "shroff lake decide --out ./decided",
    "shroff lake decide --out /shared/decided --cluster spark://10.0.0.5:7077",
    group=lake,
)
@click.option(
    "--out",
    metavar="FOLDER",
    required=True,
    type=click.Path(path_type=Path),
    help="The folder for decisions and state, visible to every machine. An interrupted run continues from it.",
)
@at
@cluster_options("spark: state partitioned by each entity's keys, on a cluster.", ("spark",))
@click.option("--places", metavar="N", type=int, help="Save state after this many log positions.  [65536]")
def decide(
    session: Session,
    out: Path,
    to: str | None,
    backend: str,
    cluster: str | None,
    partitions: int | None,
    places: int | None,
) -> int:
    """Decide the log in a lake again with many processes, and compare. Exit status 1 on a difference.

    The receipts equal those of a single process, byte for byte. Use it for a log that is too large for one machine;
    for smaller logs 'shroff verify' is much faster. Definitions that cannot be split by key, such as rules with 'since
    flag', are refused by name.
    """
    with (
        session.project.history.cluster(backend, cluster, partitions) as processes,
        session.project.lake.open(to) as found,
        bars("deciding, places") as (progress,),
    ):
        if processes is None:
            raise UsageError("a log is decided here by 'shroff verify', and by processes with --backend spark.")
        done = found.decide(out, processes, places=places, progress=progress)
    document = {"out": str(out), **to_builtins(done)}
    if done.after == done.upto:
        text = f"{out}: already decided up to sequence number {done.upto:,}."
    else:
        same = "all equal to the log" if not done.differing else f"{done.differing:,} differ, first {done.first}"
        words = f"sequence numbers {done.after + 1:,} to {done.upto:,}, {many(done.decisions, 'decision')}, {same}"
        text = f"{out}: {words}."
    session.answer(document, text)
    return 1 if done.differing else 0
