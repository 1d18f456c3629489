"""Operations on the lake: write, compact, publish, check, list, and decide it again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import msgspec

from shroff.errors import UsageError
from shroff.operations.declaration import (
    Argument,
    OperationAnswer,
    OperationRequest,
    Outcome_co,
    Param,
    ProgressSteps,
    group,
    operation,
)
from shroff.runtime.texts import many
from shroff.services.decisions.history import DecisionHistory
from shroff.services.lake.project_lake import Lakes

if TYPE_CHECKING:
    from shroff.lake.check import LakeCheck
    from shroff.lake.cluster_replay_files import ReplayRun
    from shroff.lake.compaction import Compaction
    from shroff.lake.publication import Published
    from shroff.lake.writer import LakeReport

group(
    "lake",
    """Write and check the lake: events, decisions, features, labels, flags and hits as Parquet or JSON.

    The lake is a folder, s3://bucket/prefix, gs://bucket/prefix or az://container/prefix; 'lake:' in shroff.yaml or
    --to names it. It follows the log and keeps its own manifests. Files that 'shroff lake files' does not list are
    not part of it.

    Examples:
        shroff lake write --to ./lake
        shroff lake files --json
    """,
)


Cluster = Annotated[
    str | None,
    Param(
        "Address of a running cluster, such as tcp://HOST:8786 or spark://HOST:7077.  [default: one is started here]",
        metavar="ADDRESS",
    ),
]
Partitions = Annotated[
    int | None,
    Param(
        "Number of partitions of each entity's keys (16); each must fit into the memory of one process.", metavar="N"
    ),
]


class OfLake(OperationRequest[Outcome_co]):
    """A request about the lake of shroff.yaml, or about another one.

    Args:
        to (PLACE): A folder, s3://bucket/prefix, gs://bucket/prefix or az://container/prefix.  [default: 'lake' in
            shroff.yaml]
    """

    to: Annotated[str | None, Param(is_local=True)] = None


class WriteLake(OfLake["LakeReport"]):
    pass


@operation("lake write", right="run:jobs", is_long=True, kind="lake")
def write_lake(lake: Lakes, progress: ProgressSteps, request: WriteLake) -> LakeReport:
    """Append new records of the log to the lake, exactly once even if interrupted and repeated.

    It can run while other processes write the log or the same lake.

    Examples:
        shroff lake write
        shroff lake write --to s3://mybank/shroff
    """
    with lake.open(request.to) as opened:
        done = opened.write(progress.counting("writing, places"))
        done.lake, done.seconds = opened.address, round(done.seconds, 3)
        return done


class CompactLake(OfLake["Compaction"]):
    """
    Args:
        least (N): Compact days with at least this many small files.  [default: 4]
        grace (DURATION): Retention of replaced files, for readers with an older list.
    """

    least: int | None = None
    grace: str = "1d"


@operation("lake compact", right="run:jobs")
def compact_lake(lake: Lakes, request: CompactLake) -> Compaction:
    """Merge the small files of a day, and remove replaced files and those of killed writers.

    Files are removed only after --grace.

    Examples:
        shroff lake compact
        shroff lake compact --grace 0s
    """
    with lake.open(request.to) as opened:
        done = opened.compact(files_min=request.least, grace=request.grace)
        done.lake, done.damaged = opened.address, sorted(set(done.damaged))
        return done


class PublishLake(OfLake["PublishedLake"]):
    pass


class PublishedLake(OperationAnswer):
    """A lake as its tables have it now, by format."""

    lake: str
    formats: list[Published]
    NEXT: ClassVar = ("shroff lake files",)

    def text(self) -> str:
        lines = [self.lake]
        for format_ in self.formats:
            commits = many(sum(format_.commits.values()), "new commit")
            lines.append(f"{format_.tables} are at manifest {format_.manifest:,}, {commits}.")
            lines += [f"  {table}: version {version:,}" for table, version in format_.versions.items()]
            lines += [f"  {problem}" for problem in format_.problems]
        return "\n".join(lines)

    def exit_status(self) -> int:
        return 1 if any(format_.problems for format_ in self.formats) else 0


@operation("lake publish", right="run:jobs")
def publish_lake(lake: Lakes, request: PublishLake) -> PublishedLake:
    """Publish the lake as Delta Lake or Iceberg tables, up to its last manifest.

    Exit status 1 if a table could not continue.

    'delta: true' or 'catalog:' under 'lake' in shroff.yaml does this after each commit; without them, this command
    makes Delta tables. A repeated run continues from the tables' state, and several may run at once. Readers of the
    tables see each row once, even during compaction.

    Examples:
        shroff lake publish
        shroff lake publish --to s3://mybank/shroff --json
    """
    with lake.open(request.to) as opened:
        return PublishedLake(formats=opened.publish(), lake=opened.address)


class CheckLake(OfLake["LakeCheck"]):
    pass


@operation("lake check", right="read:decisions")
def check_lake(lake: Lakes, progress: ProgressSteps, request: CheckLake) -> LakeCheck:
    """Verify the lake: fetch every file, and compare its hash and sequence numbers. Exit status 1 on a mismatch.

    Each position of the log must occur exactly once, and those that left the store must be there, unless --to names
    another lake. JSON documents are checked too: each must match its row in the lake, or in the log if the lake has
    documents only.

    Examples:
        shroff lake check
        shroff lake check --to gs://mybank/shroff --json
    """
    from shroff.lake.reader import shortage

    pruned = lake.pruned() if request.to is None else 0  # read before the lake, which then has all that was pruned
    with lake.open(request.to) as opened:
        check = opened.check(progress.counting("checking, files"))
        if check.upto < pruned:
            check.problems.append(shortage(opened.address, check.upto, pruned))
        check.lake, check.ok = opened.address, not check.problems
        return check


class ListLakeFiles(OfLake["ListedLakeFiles"]):
    """
    Args:
        folder: Only its files, as of events/type=payment.
    """

    folder: Argument = ""


class LakeFile(msgspec.Struct):
    """One file: its address, and the sequence numbers of its first and last row."""

    file: str
    rows: int
    bytes: int
    sha256: str
    first: int
    last: int


class ListedLakeFiles(OperationAnswer):
    """The files that count, by the last manifest."""

    lake: str
    manifest: int
    upto: int
    files: list[LakeFile]
    NEXT: ClassVar = ("shroff lake check",)

    def text(self) -> str:
        return "\n".join(file.file for file in self.files)


@operation("lake files", right="read:decisions")
def list_lake_files(lake: Lakes, request: ListLakeFiles) -> ListedLakeFiles:
    """List the current files of the lake, one per line: all, or those of a FOLDER such as events/type=payment.

    Examples:
        shroff lake files events/type=payment
        shroff lake files --json
    """
    with lake.open(request.to) as opened:
        named, state, start = opened.files(request.folder), opened.state, opened.address.rstrip("/")
        files = [
            LakeFile(
                file=f"{start}/{file.path}",
                rows=file.rows,
                bytes=file.bytes,
                sha256=file.sha256,
                first=file.first,
                last=file.last,
            )
            for file in named
        ]
        return ListedLakeFiles(lake=opened.address, manifest=state.number, upto=state.upto, files=files)


class DecideLake(OfLake["ReplayRun"], kw_only=True):
    """The folder for what a cluster decides of the log in the lake.

    Args:
        out (FOLDER): The folder for decisions and state, visible to every machine. An interrupted run continues from
            it.
        backend: dask or spark: state partitioned by each entity's keys, on a cluster.
        places (N): Save state after this many log positions.  [65536]
    """

    out: Annotated[Path, Param(flags="--out")]
    backend: Annotated[str, Param(complete="clusters")] = "spark"
    cluster: Cluster = None
    partitions: Partitions = None
    places: int | None = None


@operation("lake decide", right="run:jobs")
def decide_lake(history: DecisionHistory, lake: Lakes, progress: ProgressSteps, request: DecideLake) -> ReplayRun:
    """Decide the log in a lake again with many processes, and compare. Exit status 1 on a difference.

    The receipts equal those of a single process, byte for byte. Use it for a log that is too large for one machine;
    for smaller logs 'shroff verify' is much faster. Definitions that cannot be split by key, such as rules with 'since
    flag', are refused by name.

    Examples:
        shroff lake decide --out ./decided
        shroff lake decide --out /shared/decided --cluster spark://10.0.0.5:7077
    """
    with (
        history.cluster(request.backend, request.cluster, request.partitions) as processes,
        lake.open(request.to) as opened,
    ):
        if processes is None:
            raise UsageError("a log is decided here by 'shroff verify', and on a cluster with --backend dask or spark.")
        counted = progress.counting("deciding, places")
        done = opened.decide(request.out, processes, places=request.places, progress=counted)
        done.out = str(request.out)
        return done
