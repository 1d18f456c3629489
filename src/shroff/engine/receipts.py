"""Decision documents and their receipts, written for whole columns of events.

The receipt is the SHA-256 of the canonical bytes (RFC 8785) of everything that makes a decision: event, content,
outcome, score, rules hit, features, versions. It excludes the sequence number and the wording of reasons.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from hashlib import sha256
from operator import attrgetter

import msgspec
import numpy as np

from shroff.arrays import Array, Bytes, Ints
from shroff.engine.amounts import AmountWriter
from shroff.engine.fragments import ColumnWriter, Slices, TextPool, object_writer
from shroff.engine.stored import stored
from shroff.events.event import canonical_bytes, canonical_real, canonical_text
from shroff.features.frames import Frame
from shroff.json_types import TextDict
from shroff.language.columns import Column
from shroff.language.types import INTEGER, REAL
from shroff.language.values import Value
from shroff.project.definitions import Definitions, Versions
from shroff.runtime.values import FrozenStruct
from shroff.streams.log import DecisionRow
from shroff.streams.log_columns import JoinedTexts

NO_SCORE = b"null"
_SEALED = "event id outcome score rules shadow_rules features exploration".split()
_LISTED = ("definitions", "rules", "policy", "lists", "tables", "model")
_ESCAPED = re.compile(r'["\\\x00-\x1f]')  # characters that JSON escapes
_HEX = np.frombuffer(b"".join(b"%02x" % byte for byte in range(256)), np.uint16)  # two digits a byte


class Verdict(FrozenStruct):
    """Verdict of one event: the outcome, and the rules behind it sorted by id.

    `exploration` is the result of an exploration draw as canonical JSON; empty without a draw.
    """

    outcome: str
    rules: tuple[str, ...] = ()
    shadow_rules: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()  # as JSON
    exploration: str = ""


class DocumentWriter:
    """Writes the decisions of one event type.

    `model` of `versions` in a document is the id of the model that scored the event, one of several active models.
    """

    def __init__(self, event: str, definitions: Definitions) -> None:
        self._fields = [(name, definitions.features[name].type) for name in definitions.feature_names(event)]
        decimals = definitions.settings.money_places
        self._texts = TextPool()
        self._objects = object_writer(self._fields, decimals)
        self._places = ColumnWriter([',"seq":', ',"as_of_seq":', ","], [INTEGER, INTEGER], decimals)
        self._scores = ColumnWriter(["", ""], [REAL], decimals)
        self._amounts = AmountWriter(definitions.events.types[event], decimals)
        self._models = ["", *(scorer.id for scorer in definitions.scoring_of(event).deciding)]
        self.show(definitions.versions)
        self._head = f'{{"event":"{event}","id":'.encode()
        self._sealed_event = f'","event":"{event}","'.encode()
        self._plain: dict[str, _Pieces] = {}  # of verdicts without rules, by outcome

    def show(self, versions: Versions) -> None:
        """Write these versions from now on; computed results are unaffected."""
        listed = {name: getattr(versions, name) for name in _LISTED}
        self._versions = {model: _versions(listed | {"model": model}) for model in self._models}

    def features(self, frame: Frame) -> Sequence[memoryview]:
        """Return the features of each event as a JSON object, sorted by name; valid until the next call."""
        self._texts.clear()
        slices = self._objects_of(frame, slice(None), len(frame))
        view = self._texts.bytes.data
        return [view[start:stop] for start, stop in zip(slices.starts.tolist(), slices.stops.tolist(), strict=True)]

    def _objects_of(self, frame: Frame, rows: Array | slice, count: int) -> Slices:
        chosen = [frame.computed.get(name) for name, _ in self._fields]
        if not isinstance(rows, slice):
            chosen = [None if column is None else Column(column.values[rows], column.valid[rows]) for column in chosen]
        return self._objects.write(self._texts, chosen, count)

    def write(
        self,
        id_: str,
        seq: int,
        body: bytes,
        features: bytes | memoryview,
        verdict: Verdict,
        scored: tuple[bytes, str],
        values: Sequence[Value],
    ) -> tuple[bytes, bytes]:
        """Return the document of one decision and the 32 bytes of its receipt.

        `scored` is the score as JSON and its model's id, or `NO_SCORE` and an empty text; `values` are the event's.
        """
        score, model = scored
        pieces = self._pieces(verdict)
        versions = self._versions[model]
        id_json = canonical_bytes(id_)
        content = sha256(body).hexdigest().encode()
        sealed = pieces.sealed_head, score, pieces.sealed_tail, versions.sealed
        before = b'{"content":"', content, self._sealed_event, pieces.sealed_middle
        receipt = sha256(b"".join((*before, features, b',"id":', id_json, *sealed)))
        seqs = b',"seq":%d,"as_of_seq":%d,' % (seq, seq - 1)
        sealed_by = receipt.hexdigest().encode()
        shown = pieces.shown_head, score, pieces.shown_tail, features, versions.shown
        amount = self._amounts.text(values)
        return b"".join((self._head, id_json, seqs, amount, *shown, sealed_by, pieces.shown_end)), receipt.digest()

    def write_all(self, frame: Frame, decided: DecidedBatch) -> tuple[JoinedTexts, Array]:
        """Return the documents and receipts (32 bytes a row) of a batch, byte for byte as `write` would."""
        texts = self._texts
        count = len(decided.seqs)
        texts.clear()
        features = self._objects_of(frame, decided.rows, count)
        everywhere = np.ones(count, np.bool_)
        seqs = [Column(decided.seqs - before, everywhere) for before in (0, 1)]
        seq_texts = self._places.write(texts, seqs, count)
        scores = None if decided.scores is None else Column(decided.scores, everywhere)
        score = self._scores.write(texts, [scores], count)
        id_ = texts.add_all(canonical_texts(decided.ids))
        content = _as_digits(texts, _digests(decided.bodies))
        shared = [b'{"content":"', self._sealed_event, b',"id":', self._head]
        for model in decided.models:
            shared += self._versions[model].sealed, self._versions[model].shown
        behind = len(shared)
        for verdict in decided.verdicts:
            shared += _all_pieces(self._pieces(verdict))
        text = texts.add_all(shared)
        head, event, id_name, shown_start = (text.take(np.array([number])) for number in range(4))
        versions, shown_versions = (text.take(4 + 2 * decided.model_of + number) for number in range(2))
        places = behind + len(_Pieces.__match_args__) * decided.verdict_of
        middle, *sealed, shown_head, shown_tail, shown_end = (
            text.take(places + number) for number in range(len(_Pieces.__match_args__))
        )
        sealed_parts = head, content, event, middle, features, id_name, id_, sealed[0], score, sealed[1], versions
        joined = texts.join(sealed_parts, count)
        receipts = hash_slices(texts.bytes, joined.starts, joined.stops)
        receipt = _as_digits(texts, receipts)

        amount = self._amounts.parts(texts, frame, decided.rows, count)
        shown = shown_head, score, shown_tail, features, shown_versions, receipt, shown_end
        return texts.cut(texts.join([shown_start, id_, seq_texts, *amount, *shown], count)), receipts

    def _pieces(self, verdict: Verdict) -> _Pieces:
        """Return a verdict's pieces of both texts; cached for verdicts without rules, which most events share."""
        is_plain = not verdict.rules and not verdict.shadow_rules and not verdict.exploration
        if is_plain and verdict.outcome in self._plain:
            return self._plain[verdict.outcome]
        rules = _list(verdict.rules)
        shadow = _list(verdict.shadow_rules)
        exploration_text = f'exploration":{verdict.exploration},"' if verdict.exploration else ""
        pieces = _Pieces(
            f'{exploration_text}features":'.encode(),
            f',"outcome":"{verdict.outcome}","rules":{rules},"score":'.encode(),
            f',"shadow_rules":{shadow},"versions":'.encode(),
            f'"outcome":"{verdict.outcome}","score":'.encode(),
            f',"reasons":[{",".join(verdict.reasons)}],"rules":{rules},"shadow_rules":{shadow},"features":'.encode(),
            f'","exploration":{verdict.exploration}}}'.encode() if verdict.exploration else b'"}',
        )
        if is_plain:
            self._plain[verdict.outcome] = pieces
        return pieces


class DecidedBatch(FrozenStruct):
    """Decisions of a batch of events, as columns.

    Args:
        rows: Rows of the events in the frame of their features.
        verdicts: Distinct verdicts; `verdict_of` is the index of each event's.
        scores: None if no model scores; `models` is then one empty text.
    """

    rows: Array | slice
    seqs: Array
    ids: Sequence[str]
    bodies: Sequence[bytes]
    verdicts: Sequence[Verdict]
    verdict_of: Array
    scores: Array | None
    models: Sequence[str]
    model_of: Array


def _as_digits(texts: TextPool, digests: Array) -> Slices:
    start = texts.add(_HEX.take(digests).view(np.uint8).ravel())
    return Slices.behind(start, np.arange(1, len(digests) + 1) * 2 * digests.shape[1])


def hash_slices(texts: Bytes, starts: Ints, stops: Ints) -> Bytes:
    """Return the SHA-256 of slices of a text, as rows of 32 bytes."""
    view = texts.data
    return _digests(view[start:stop] for start, stop in zip(starts.tolist(), stops.tolist(), strict=True))


def _digests(texts: Iterable[bytes | memoryview]) -> Bytes:
    return np.frombuffer(b"".join([sha256(text).digest() for text in texts]), np.uint8).reshape(-1, 32)


def canonical_texts(texts: Sequence[str]) -> JoinedTexts:
    """Encode texts as JSON, each as `canonical_bytes` does."""
    if _ESCAPED.search("".join(texts)) is None:
        return JoinedTexts.written(texts, '"', '"')
    return JoinedTexts.of(list(map(canonical_bytes, texts)))


class _Pieces(FrozenStruct):
    """A verdict's pieces of JSON: for the text that is hashed (`sealed_`), and for the document (`shown_`).

    `sealed_middle` comes between event and features, `sealed_head` before the score and `sealed_tail` after it;
    `shown_end` ends the document.
    """

    sealed_middle: bytes
    sealed_head: bytes
    sealed_tail: bytes
    shown_head: bytes
    shown_tail: bytes
    shown_end: bytes


_all_pieces = attrgetter(*_Pieces.__match_args__)


class _SealedVersions(FrozenStruct):
    """The versions as the end of the hashed text, sorted by name, and as the document shows them."""

    sealed: bytes
    shown: bytes


def _versions(listed: TextDict) -> _SealedVersions:
    sealed = f"{_object(dict(sorted(listed.items())))}}}"
    return _SealedVersions(sealed.encode(), f',"versions":{_object(listed)},"receipt":"sha256:'.encode())


def exploration(propensity: float, would_be: str, *, is_explored: bool) -> str:
    probability = canonical_real(propensity)
    return f'{{"explored":{str(is_explored).lower()},"propensity":{probability},"would_be":"{would_be}"}}'


def reason(code: str, text: str, effect: str) -> str:
    return f'{{"code":"{code}","kind":"rule","text":{canonical_text(text)},"effect":"{effect}"}}'


def _list(ids: Sequence[str]) -> str:
    return "[" + ",".join(f'"{id_}"' for id_ in ids) + "]"


def _object(values: TextDict) -> str:
    return "{" + ",".join(f'"{name}":{canonical_text(value)}' for name, value in values.items()) + "}"


class _DocumentParts(msgspec.Struct, kw_only=True):
    """The parts of a decision document, in order."""

    event: msgspec.Raw
    id: msgspec.Raw
    outcome: msgspec.Raw
    score: msgspec.Raw
    rules: msgspec.Raw
    shadow_rules: msgspec.Raw
    features: msgspec.Raw
    versions: TextDict
    exploration: msgspec.Raw = msgspec.Raw()  # not `| None`: msgspec would then decode only null


def receipt_of(row: DecisionRow, body: bytes) -> bytes:
    """Compute the receipt that a recorded decision must have, from its own document and the event's body.

    Whether its values are right is checked by `replay`.

    Raises: StorageError if the document is damaged.
    """
    return sha256(sealed_text(row, body)).digest()


def sealed_text(row: DecisionRow, body: bytes) -> bytes:
    """Return the canonical JSON that a receipt hashes. Raises: as `receipt_of`."""
    document = stored(row.document, _DocumentParts, f"the decision at sequence number {row.seq}")
    sealed = {name: bytes(getattr(document, name)) for name in _SEALED}
    parts = {name: value for name, value in sealed.items() if value}
    parts["content"] = b'"%s"' % sha256(body).hexdigest().encode()
    parts["versions"] = _object(dict(sorted(document.versions.items()))).encode()
    return b"{%s}" % b",".join(b'"%s":%s' % (name.encode(), parts[name]) for name in sorted(parts))
