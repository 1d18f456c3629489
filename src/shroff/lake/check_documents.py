"""Checks folders of JSON documents: every document that was written is there, to the byte.

No manifest lists documents: their names and content follow from the rows of a commit and the layout of its plan, as
when they were written. Other objects in these folders are ignored, since notices and other programs may put some there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, islice

from msgspec import Struct

from shroff.errors import StorageError
from shroff.lake.documents import documents
from shroff.lake.reader import LakeReader
from shroff.lake.rows import SeqRange, read_span
from shroff.streams.lake import RetriedObjects
from shroff.streams.lake_manifest import LakeState, Write, manifest_name, read_manifest
from shroff.streams.log import Log

AT_ONCE = 8  # objects that are fetched in parallel
AHEAD = 512  # documents that are prepared for comparison at a time
_Wanted = tuple[str, bytes, int]


class DocumentCheck(Struct):
    """Result of a check: documents read, documents that could not be read, and the problems as sentences."""

    documents: int = 0
    unchecked: int = 0
    bytes: int = 0
    problems: list[str] = []


def check_documents(
    objects: RetriedObjects, state: LakeState, rows: LakeReader | Log | None, progress: Callable[[int], None] | None
) -> DocumentCheck:
    """Fetch all documents and compare each with the rows.

    Args:
        rows: The lake itself if it is complete, else its log. With None, documents count as unchecked.

    Cost: a request for each document, and reading all rows.
    """
    result = DocumentCheck()
    for number in range(1, state.number + 1):
        manifest_read = read_manifest(objects, number)
        if manifest_read is None:
            result.problems.append(f"{manifest_name(number)} is not there")
            continue
        manifest, _ = manifest_read
        if not isinstance(manifest.plan, Write) or not manifest.documents:
            continue
        count = sum(manifest.documents.values())
        try:
            span = None if rows is None else _span(rows, manifest.plan.after, manifest.plan.upto)
        except StorageError:  # the check of files reports it
            span = None
        if span is None:
            result.unchecked += count
            continue
        for batch in _batches(span, manifest.plan):
            _check_batch(objects, batch, result, progress)
    return result


def _span(rows: LakeReader | Log, after: int, upto: int) -> SeqRange | None:
    """Return the rows of a commit; None if the log no longer has them."""
    if not isinstance(rows, LakeReader):
        return None if after < rows.pruned_to() else read_span(rows, after, upto)
    return SeqRange(
        after,
        upto,
        list(chain.from_iterable(rows.records(after, upto))),
        list(chain.from_iterable(rows.decisions(after, upto))),
        list(chain.from_iterable(rows.flags(after, upto))),
    )


def _batches(span: SeqRange, plan: Write) -> Iterator[list[_Wanted]]:
    all_of_them = chain.from_iterable(
        documents(span, name, kind) for name, kind in sorted(plan.layout.documents.items())
    )
    while batch := list(islice(all_of_them, AHEAD)):
        yield batch


def _check_batch(
    objects: RetriedObjects, batch: list[_Wanted], check: DocumentCheck, progress: Callable[[int], None] | None
) -> None:
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="documents") as pool:
        stored_objects = list(pool.map(lambda file: objects.get(file[0]), batch))
    for (path, data, count), stored in zip(batch, stored_objects, strict=True):
        check.documents += count
        check.bytes += 0 if stored is None else len(stored.data)
        if stored is None:
            check.problems.append(f"{path}: the document is not there")
        elif stored.data != data:
            check.problems.append(f"{path}: the document is not as it was written")
        if progress is not None:
            progress(1)
