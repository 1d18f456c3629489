"""Folding a long stretch of the log by columns: no object for each event, and the log is read beside the folding."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Final

from shroff.features.key_texts import Hits
from shroff.log.columns.files import ahead
from shroff.log.columns.stored import LineReader, LogPiece, check_unread
from shroff.log.history import hits_by_place, standing_of
from shroff.log.state.fold import Folded, Progress
from shroff.streams.log import Log

FIRST: Final = 4_096  # places of the first piece, since nobody knows how long their lines are
MOST: Final = 1 << 15
PIECE_BYTES: Final = 1 << 23  # about what the lines of a piece take; some pieces are there at a time
Lines = tuple[bytes, dict[int, Hits]]  # of a piece, and the hits of the past by their rows


def fold_columns(log: Log, folded: Folded, upto: int, progress: Progress | None = None) -> None:
    """Move state on to the place `upto`, which the log has, as `fold` does.

    Raises: DefinitionError, StateError where a body cannot be read, PrunedError, as `fold`.
    """
    reader = LineReader(folded.engine.definitions)
    controls = log.controls(folded.seq, upto)
    for control in controls:
        folded.control.take(control)
    # Only its thread asks the log from here on: a log is asked one question at a time.
    with closing(ahead(_pieces(log, folded.seq, upto))) as pieces:
        for lines, hits in pieces:
            piece = reader.piece(lines, folded.seq)
            folded.engine.pass_over(piece.frames, piece.size, hits)
            check_unread(piece)
            _note(piece, folded)
            if progress is not None:
                progress(sum(map(len, piece.frames.values())))
    folded.engine.passed()


def _pieces(log: Log, after: int, upto: int) -> Iterator[Lines]:
    past = hits_by_place(log, upto, after)
    place, rules = next(past, (0, {}))
    places = FIRST
    before = -1
    while before < after < upto:
        before = after
        for lines in log.lines(after, min(after + places, upto), places):
            count, hits = lines.count(b"\n"), dict[int, Hits]()
            while 0 < place <= after + count:
                hits[place - after - 1] = rules
                place, rules = next(past, (0, {}))
            yield lines, hits
            after += count
            places = max(1, min(MOST, PIECE_BYTES * count // len(lines)))


def _note(piece: LogPiece, folded: Folded) -> None:
    """What state has beside the engine's."""
    for _, label in piece.labels:
        named = str(label.values[0])
        current, new = folded.standings.get(named), standing_of(label)
        if current is None or current.gives_way_to(new):
            folded.standings[named] = new
    newest = [int(frame.times.max()) for name, frame in piece.frames.items() if name != "label"]
    if newest:
        folded.watermark_ms = max(*newest, newest[0] if folded.watermark_ms is None else folded.watermark_ms)
    folded.seq = piece.after + piece.size
