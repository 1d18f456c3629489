"""A decision's document and its receipt, written for whole columns of events.

The receipt is the SHA-256 of the canonical bytes (RFC 8785) of everything that makes a
decision: event, content, outcome, score, rules hit, features, versions. Neither the place
in the log nor the wording of reasons is part of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from shroff.decisions.definitions import Definitions
from shroff.decisions.fragments import column_json
from shroff.events.event import canonical_text
from shroff.features.frames import Frame

JSON = str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What hits came to, for one event: the outcome, and the rules behind it sorted by id."""

    outcome: str
    rules: tuple[str, ...] = ()
    shadow_rules: tuple[str, ...] = ()
    reasons: tuple[JSON, ...] = ()


class DocumentWriter:
    """Writes the decisions of one event type."""

    def __init__(self, event: str, definitions: Definitions) -> None:
        self._event = event
        self._features = [(name, definitions.features[name].type) for name in definitions.feature_names(event)]
        self._money_places = definitions.settings.money_places
        # Doubled percent signs: the text is filled by '%'. Names are lower-case letters, digits, '_' and '.'.
        self._template = "{" + ",".join(f'"{name}":%s' for name, _ in self._features) + "}"
        versions = asdict(definitions.versions)
        listed = {name: versions[name] for name in ("definitions", "rules", "policy", "lists", "tables", "model")}
        self._versions = _object(listed)
        self._sorted_versions = _object(dict(sorted(listed.items())))

    def features(self, frame: Frame) -> list[JSON]:
        """The features of each event as a JSON object, names sorted."""
        if not self._features:
            return ["{}"] * len(frame)
        fragments: list[list[str]] = []
        for name, type_ in self._features:
            column = frame.computed.get(name)
            if column is None:
                fragments.append(["null"] * len(frame))
                continue
            fragments.append(column_json(column, type_, self._money_places))
        return [self._template % row for row in zip(*fragments, strict=True)]

    def write(self, id_: str, seq: int, body: bytes, features: JSON, verdict: Verdict) -> tuple[bytes, bytes]:
        """The document of one decision and the 32 bytes of its receipt."""
        id_text = canonical_text(id_)
        rules, shadow = _list(verdict.rules), _list(verdict.shadow_rules)
        content = hashlib.sha256(body).hexdigest()
        sealed = (
            f'{{"content":"{content}","event":"{self._event}","features":{features},"id":{id_text},'
            f'"outcome":"{verdict.outcome}","rules":{rules},"score":null,"shadow_rules":{shadow},'
            f'"versions":{self._sorted_versions}}}'
        )
        receipt = hashlib.sha256(sealed.encode())
        document = (
            f'{{"event":"{self._event}","id":{id_text},"seq":{seq},"as_of_seq":{seq - 1},"outcome":"{verdict.outcome}",'
            f'"score":null,"reasons":[{",".join(verdict.reasons)}],"rules":{rules},"shadow_rules":{shadow},'
            f'"features":{features},"versions":{self._versions},"receipt":"sha256:{receipt.hexdigest()}"}}'
        )
        return document.encode(), receipt.digest()


def reason(code: str, text: str, effect: str) -> JSON:
    """One rule's reason."""
    return f'{{"code":"{code}","kind":"rule","text":{canonical_text(text)},"effect":"{effect}"}}'


def _list(ids: Sequence[str]) -> JSON:
    return "[" + ",".join(f'"{id_}"' for id_ in ids) + "]"


def _object(values: dict[str, str]) -> JSON:
    return "{" + ",".join(f'"{name}":{canonical_text(value)}' for name, value in values.items()) + "}"
