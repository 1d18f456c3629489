"""Evidence pack of a dispute: payment, decision, buyer's elements and prior payments, without card numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.json import decode as from_json

from shroff.engine.stored import decision_document, rule_reasons
from shroff.json_types import JsonMapping, JsonObject, TextMapping
from shroff.models.reports.pages import page
from shroff.runtime.logs import without_cards
from shroff.services.disputes.prior_payments import ELEMENTS, element_fields

if TYPE_CHECKING:
    from shroff.project.definitions import Definitions
    from shroff.services.disputes.prior_payments import PriorEvidence
    from shroff.services.disputes.stages import DisputeStage
    from shroff.streams.log import Log, Record

_NUMBER_MIN = 8  # characters; shorter card values are tokens, which may occur in other texts by chance
_AS_THEY_ARE = frozenset({"receipt", "versions", "device"})  # hashes and device ids look like card numbers


def evidence_pack(
    log: Log,
    definitions: Definitions,
    named: TextMapping,
    record: Record,
    stages: Sequence[DisputeStage],
    evidence: PriorEvidence,
) -> JsonObject:
    """Build the pack as a JSON document. It does not depend on the clock: the same log yields the same pack.

    `named` is `evidence` of `cases` in shroff.yaml.
    """
    fields = element_fields(definitions.events.types[record.type], named)
    payment = from_json(record.body)
    row = log.decisions.of(record.type, [record.id]).get(record.id)
    decision = None
    if row is not None:
        document = decision_document(row)
        names = ("outcome", "score", "reasons", "versions", "receipt", "seq")
        decision = {name: document[name] for name in names} | {"reasons": rule_reasons(document)}
    pack = {
        "event": f"{record.type}/{record.id}",
        "currency": definitions.settings.currency,
        "stages": msgspec.to_builtins(stages),
        "payment": payment,
        "buyer": {name: payment.get(fields.get(name, "")) for name in ELEMENTS},
        "decision": decision,
        "compelling_evidence_3": msgspec.to_builtins(evidence),
    }
    card = str(payment.get(fields.get("card", "")) or "")
    device = fields.get("device", "device")
    masked: JsonObject = _masked(pack, card if len(card) >= _NUMBER_MIN else "", {*_AS_THEY_ARE, device})
    return masked


def _masked(value: Any, card: str, kept_fields: set[str]) -> Any:
    """Mask the card, except its last four characters, and other card numbers."""
    if isinstance(value, str):
        return without_cards(value.replace(card, f"···{card[-4:]}") if card else value)
    if isinstance(value, Mapping):
        return {name: part if name in kept_fields else _masked(part, card, kept_fields) for name, part in value.items()}
    return [_masked(part, card, kept_fields) for part in value] if isinstance(value, list | tuple) else value


def pack_html(pack: JsonMapping) -> str:
    heads = [name for name in pack["stages"][0] if any(stage[name] is not None for stage in pack["stages"])]
    return page(
        __package__, "evidence.html", {}, title=f"Evidence for {pack['event']}", project="", pack=pack, heads=heads
    )
