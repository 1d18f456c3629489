"""Decide a recorded log by Spark's structured streaming, which reads a lake, keeps state by key, and writes files.

The source's offset is a sequence number of the log. A micro-batch covers the sequence numbers (a, b], which Spark
records before it computes them. So after a failure it is computed again for the same numbers, from the same states, and
its files get the same names and bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shroff.errors import StateError, UsageError
from shroff.plugins.cluster import EntityAnswer, PartitionEvent, ReplayPlan, answers_of, decided, rows_of, work_of

if TYPE_CHECKING:
    from shroff.plugins.cluster import DecidedPart

SLICE = 8_192  # sequence numbers that one task reads, and that one task decides
WHOLE = -1  # in the column of the stage's number: marks the row that says which sequence numbers a slice has
PYSPARK_LEAST = (4, 2)  # the first version that tells a source a micro-batch's start and largest size
STARTS_MAX = 6  # a minute of waiting for workers on a busy machine
NOT_CONNECTED = "Python worker failed to connect back"  # within 10 s, which no setting of Spark 4.2 changes
STATE_STORE = {
    "providerClass": "org.apache.spark.sql.execution.streaming.state.RocksDBStateStoreProvider",
    "rocksdb.changelogCheckpointing.enabled": "true",  # a micro-batch writes what it changed, not the database's files
    "rocksdb.trackTotalNumberOfRows": "false",
}
SEEN = (
    "stage int, partition int, seq bigint, kind string, type string, id string, time_ms bigint, body binary, "
    "is_asked boolean"
)
ANSWERS = "slice bigint, stage int, seq bigint, words binary, others binary"
STATE = "state binary"
PARTS = "first bigint, last bigint, decisions bigint, differing bigint, example string"


def stream(
    context: Any,
    replay: ReplayPlan,
    checkpoint: Path,
    places: int,
    write: Callable[[int, int, Any], None],
    done: Callable[[DecidedPart], None],
) -> None:
    """Decide the part of the log that is not decided yet.

    Args:
        context: Spark's context.
        replay: What to decide, and how.
        checkpoint: Folder of offsets and states, which all machines can read.
        places: Largest number of rows of the log in a micro-batch.
        write: Stores the results of the sequence numbers (after, upto]. It is called in a process of the cluster, and
            once more for the same numbers if that process fails.
        done: Called with each slice when its micro-batch is decided.

    Raises: UsageError if PySpark is too old; StateError if Spark fails.
    """
    import pyspark
    from pyspark.sql import SparkSession

    version = tuple(int(part) for part in pyspark.__version__.split(".")[:2])
    if version < PYSPARK_LEAST:
        raise UsageError(f"deciding a log needs PySpark 4.2 or newer, and this is {pyspark.__version__}.")
    session = SparkSession(context).newSession()
    for name, value in STATE_STORE.items():
        session.conf.set(f"spark.sql.streaming.stateStore.{name}", value)
    session.conf.set("spark.sql.shuffle.partitions", str(replay.partitions))
    session.conf.set("spark.sql.adaptive.enabled", "false")
    session.dataSource.register(_source(replay, places))
    seen = session.readStream.format("shroff_lake").load()
    answers = seen.groupBy("stage", "partition").applyInPandasWithState(
        _folding(replay), ANSWERS, STATE, "append", "NoTimeout"
    )

    def decide(batch: Any, _number: int) -> None:
        for row in batch.groupBy("slice").applyInPandas(_deciding(replay, write), PARTS).collect():
            done(row)

    writing = (
        answers.writeStream.foreachBatch(decide)
        .option("checkpointLocation", checkpoint.absolute().as_uri())
        .trigger(availableNow=True)
    )
    run_to_end(writing.start)


def run_to_end(start: Callable[[], Any]) -> None:
    """Run a query to its end, and start it again from its checkpoint if a worker of Spark does not connect in time.

    Raises: StateError if it fails for another reason, or has been started `STARTS_MAX` times.
    """
    from py4j.protocol import Py4JError, Py4JJavaError
    from pyspark.errors import PySparkException, StreamingQueryException

    for left in reversed(range(STARTS_MAX)):
        query = start()
        try:
            query.awaitTermination()
        except (StreamingQueryException, PySparkException, Py4JJavaError) as error:
            if not (left and NOT_CONNECTED in str(error)):
                raise StateError(f"Spark stopped: {_cause(str(error))}") from None
        except (Py4JError, OSError):
            raise StateError(
                "Spark stopped: its Java process is gone, usually for lack of memory. Run it again; it goes on there."
            ) from None
        else:
            return
        finally:
            with suppress(Py4JError, OSError):  # of a Java process that is gone
                query.stop()


def _cause(words: str) -> str:
    lines = [line.strip() for line in words.splitlines() if line.strip()]
    ours = [line for line in lines if line.startswith("shroff.errors.")]
    return ours[-1].partition(": ")[2] if ours else lines[0]


def _source(replay: ReplayPlan, places: int) -> type:
    """Make the class of the data source, when PySpark is installed. Spark sends it to other processes by value."""
    # Some installations of PySpark lack its types, so the comments for mypy are needed in some and unused in others.
    from pyspark.sql.datasource import DataSource, DataSourceStreamReader, InputPartition
    from pyspark.sql.streaming.datasource import ReadAllAvailable, ReadMaxRows, SupportsTriggerAvailableNow

    class StreamSlice(InputPartition):  # type: ignore[misc, unused-ignore]  # as said above
        def __init__(self, after: int, upto: int) -> None:
            self.after = after
            self.upto = upto

    class Reader(DataSourceStreamReader, SupportsTriggerAvailableNow):  # type: ignore[misc, unused-ignore]  # as above
        def initialOffset(self) -> dict[str, int]:  # noqa: N802 (Spark's names)
            return {"place": 0}

        def prepareForTriggerAvailableNow(self) -> None:  # noqa: N802 (Spark's names)
            """Do nothing, since the end of the log to decide is fixed."""

        def getDefaultReadLimit(self) -> Any:  # noqa: N802 (Spark's names)
            return ReadMaxRows(places)

        def latestOffset(self, start: dict[str, int], limit: Any) -> dict[str, int]:  # noqa: N802 (Spark's names)
            end = replay.upto
            most = end if isinstance(limit, ReadAllAvailable) else limit.max_rows
            return {"place": max(start["place"], min(start["place"] + most, end))}

        def partitions(self, start: dict[str, int], end: dict[str, int]) -> list[StreamSlice]:
            return [StreamSlice(*slice_) for slice_ in slices(start["place"], end["place"])]

        def read(self, partition: Any) -> Iterator[tuple[Any, ...]]:
            yield (WHOLE, slice_of(partition.upto), partition.upto, "", "", "", partition.after, b"", False)
            yield from (tuple(row) for row in rows_of(work_of(replay), partition.after, partition.upto))

    class SparkLake(DataSource):  # type: ignore[misc, unused-ignore]  # as said above
        @classmethod
        def name(cls) -> str:
            return "shroff_lake"

        def schema(self) -> str:
            return SEEN

        def streamReader(self, schema: Any) -> Reader:  # noqa: N802 (Spark's names)
            return Reader()

    return SparkLake


def slice_of(seq: int) -> int:
    """Return the number of the slice that contains a sequence number."""
    return (seq - 1) // SLICE


def slices(after: int, upto: int) -> Iterator[tuple[int, int]]:
    """Cut the sequence numbers (after, upto] at the ends of slices, which do not depend on the micro-batches."""
    while after < upto:
        end = min((slice_of(after + 1) + 1) * SLICE, upto)
        yield after, end
        after = end


def _folding(replay: ReplayPlan) -> Callable[[Any, Iterator[Any], Any], Iterator[Any]]:
    def fold(key: Any, frames: Iterator[Any], state: Any) -> Iterator[Any]:
        import pandas as pd

        stage, number = key
        names = ["slice", "stage", "seq", "words", "others"]
        if stage == WHOLE:
            ends = [(int(row.seq), int(row.time_ms)) for frame in frames for row in frame.itertuples()]
            rows = [(number, WHOLE, seq, after.to_bytes(8), b"") for seq, after in ends]
            yield pd.DataFrame(rows, columns=names)
            return
        seen = [
            PartitionEvent(
                stage, number, int(row.seq), row.kind, row.type, row.id, int(row.time_ms), row.body, row.is_asked
            )
            for frame in frames
            for row in frame.itertuples()
        ]
        before = bytes(state.get[0]) if state.exists else None
        after, found = answers_of(work_of(replay), stage, before, seen)
        state.update((after,))
        rows = [(slice_of(seq), stage, seq, answer.words, answer.others) for seq, answer in found]
        yield pd.DataFrame(rows, columns=names)

    return fold


def _deciding(replay: ReplayPlan, write: Callable[[int, int, Any], None]) -> Callable[[Any], Any]:
    def decide(frame: Any) -> Any:
        import pandas as pd

        answers: dict[int, dict[int, EntityAnswer]] = {}
        bounds: list[tuple[int, int]] = []
        for row in frame.itertuples():
            if row.stage == WHOLE:
                bounds.append((int.from_bytes(row.words), int(row.seq)))
            else:
                answers.setdefault(row.stage, {})[int(row.seq)] = EntityAnswer(row.words, row.others)
        rows = []
        for after, upto in sorted(bounds):
            found = decided(work_of(replay), after, upto, answers)
            write(after, upto, found.effects)
            rows.append((after, upto, len(found.effects.decisions), found.differing, found.first))
        return pd.DataFrame(rows, columns=["first", "last", "decisions", "differing", "example"])

    return decide
