"""A decision's document and its receipt, written for whole columns of events.

The receipt is the SHA-256 of the canonical bytes (RFC 8785) of everything that makes a
decision: event, content, outcome, score, rules hit, features, versions. Neither the place
in the log nor the wording of reasons is part of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256

from shroff.decisions.definitions import Definitions
from shroff.decisions.fragments import ObjectWriter
from shroff.events.event import canonical_bytes, canonical_text
from shroff.features.frames import Frame


@dataclass(frozen=True, slots=True)
class Verdict:
    """What hits came to, for one event: the outcome, and the rules behind it sorted by id."""

    outcome: str
    rules: tuple[str, ...] = ()
    shadow_rules: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()  # as JSON


class DocumentWriter:
    """Writes the decisions of one event type."""

    def __init__(self, event: str, definitions: Definitions) -> None:
        self._fields = [(name, definitions.features[name].type) for name in definitions.feature_names(event)]
        self._objects = ObjectWriter(self._fields, definitions.settings.money_places)
        versions = asdict(definitions.versions)
        listed = {name: versions[name] for name in ("definitions", "rules", "policy", "lists", "tables", "model")}
        self._versions = _object(listed)
        self._sorted_versions = _object(dict(sorted(listed.items())))
        self._head = f'{{"event":"{event}","id":'.encode()
        self._sealed_middle = f'","event":"{event}","features":'.encode()
        self._tail = f',"versions":{self._versions},"receipt":"sha256:'.encode()
        self._plain: tuple[Verdict, _Pieces] | None = None

    def features(self, frame: Frame) -> Sequence[bytes | memoryview]:
        """The features of each event as a JSON object, names sorted; of use until the next call."""
        if not self._fields:
            return [b"{}"] * len(frame)
        return self._objects.write([frame.computed.get(name) for name, _ in self._fields], len(frame))

    def write(
        self, id_: str, seq: int, body: bytes, features: bytes | memoryview, verdict: Verdict
    ) -> tuple[bytes, bytes]:
        """The document of one decision and the 32 bytes of its receipt."""
        pieces = self._pieces(verdict)
        id_json = canonical_bytes(id_)
        content = sha256(body).hexdigest().encode()
        receipt = sha256(
            b"".join((b'{"content":"', content, self._sealed_middle, features, b',"id":', id_json, pieces.sealed))
        )
        place = b',"seq":%d,"as_of_seq":%d,' % (seq, seq - 1)
        sealed_by = receipt.hexdigest().encode()
        document = b"".join((self._head, id_json, place, pieces.shown, features, self._tail, sealed_by, b'"}'))
        return document, receipt.digest()

    def _pieces(self, verdict: Verdict) -> _Pieces:
        """What a verdict gives to both texts; most events of a batch share one without rules, which is kept."""
        if self._plain is not None and self._plain[0] is verdict:
            return self._plain[1]
        rules, shadow = _list(verdict.rules), _list(verdict.shadow_rules)
        found = _Pieces(
            (
                f',"outcome":"{verdict.outcome}","rules":{rules},"score":null,"shadow_rules":{shadow},'
                f'"versions":{self._sorted_versions}}}'
            ).encode(),
            (
                f'"outcome":"{verdict.outcome}","score":null,"reasons":[{",".join(verdict.reasons)}],'
                f'"rules":{rules},"shadow_rules":{shadow},"features":'
            ).encode(),
        )
        if not verdict.rules and not verdict.shadow_rules:
            self._plain = verdict, found
        return found


@dataclass(frozen=True, slots=True)
class _Pieces:
    """The part of the sealed content behind the id, and that of the document before the features."""

    sealed: bytes
    shown: bytes


def reason(code: str, text: str, effect: str) -> str:
    """One rule's reason, as JSON."""
    return f'{{"code":"{code}","kind":"rule","text":{canonical_text(text)},"effect":"{effect}"}}'


def _list(ids: Sequence[str]) -> str:
    return "[" + ",".join(f'"{id_}"' for id_ in ids) + "]"


def _object(values: dict[str, str]) -> str:
    return "{" + ",".join(f'"{name}":{canonical_text(value)}' for name, value in values.items()) + "}"
