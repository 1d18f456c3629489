"""Evidence pack of a dispute: the payment, its decision, what identifies the buyer, prior payments; no card number."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any, Final

import msgspec

from shroff.app.cases.prior_payments import ELEMENTS, element_fields
from shroff.engine.stored import decision_document
from shroff.runtime.logs import without_cards

if TYPE_CHECKING:
    from shroff.app.cases.dispute_stages import DisputeStage
    from shroff.app.cases.prior_payments import PriorEvidence
    from shroff.project.definitions import Definitions
    from shroff.streams.log import Log, Record

_STYLE: Final = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}"
    "table{border-collapse:collapse;width:100%;margin:.5rem 0 1.5rem}"
    "th,td{text-align:left;vertical-align:top;border-bottom:1px solid #ddd;padding:.3rem .6rem;overflow-wrap:anywhere}"
)
_NUMBER_MIN: Final = 8  # characters: what is shorter is a token, and may stand in other texts by chance
_AS_THEY_ARE: Final = frozenset({"receipt", "versions", "device"})  # hashes and ids of devices, which look like numbers


def evidence_pack(
    log: Log, definitions: Definitions, record: Record, stages: Sequence[DisputeStage], evidence: PriorEvidence
) -> dict[str, Any]:
    """The pack as a JSON document. It has nothing of the clock, so that of the same log is the same."""
    fields = element_fields(definitions.events.types[record.type])
    payment = msgspec.json.decode(record.body)
    row = log.decisions(record.type, [record.id]).get(record.id)
    decision = None
    if row is not None:
        document = decision_document(row)
        names = ("outcome", "score", "reasons", "versions", "receipt", "seq")
        decision = {name: document[name] for name in names}
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
    masked: dict[str, Any] = _masked(pack, card if len(card) >= _NUMBER_MIN else "", {*_AS_THEY_ARE, device})
    return masked


def _masked(value: Any, card: str, kept: set[str]) -> Any:
    """The same without the card, of which the last four characters stay, and without other card numbers."""
    if isinstance(value, str):
        return without_cards(value.replace(card, f"···{card[-4:]}") if card else value)
    if isinstance(value, Mapping):
        return {name: part if name in kept else _masked(part, card, kept) for name, part in value.items()}
    return [_masked(part, card, kept) for part in value] if isinstance(value, list | tuple) else value


def pack_html(pack: Mapping[str, Any]) -> str:
    """The pack as one HTML file, without scripts and without anything from elsewhere."""
    title = escape(f"Evidence for {pack['event']}")
    head = f'<head><meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style></head>'
    body = "\n".join([f"<h1>{title}</h1>", *_sections(pack)])
    return f'<!doctype html>\n<html lang="en">{head}<body>\n{body}\n</body></html>\n'


def _sections(pack: Mapping[str, Any]) -> Iterator[str]:
    evidence = pack["compelling_evidence_3"]
    yield _section("Payment", _pairs({**pack["payment"], "currency": pack["currency"]}))
    yield _section("Buyer", _pairs(pack["buyer"]))
    if pack["decision"] is not None:
        reasons = "; ".join(str(reason.get("text", reason.get("code"))) for reason in pack["decision"]["reasons"])
        shown = {name: pack["decision"][name] for name in ("outcome", "score", "receipt")}
        yield _section("Decision", _pairs({**shown, "reasons": reasons or "none"}))
    yield _section("Dispute", _table(pack["stages"]))
    answer = "met" if evidence["eligible"] else "not met"
    yield _section("Visa Compelling Evidence 3.0", f"<p>{escape(answer.capitalize())}: {escape(evidence['why'])}</p>")
    for payment in evidence["payments"]:
        head = {"shared": ", ".join(payment["matches"]), "days before": payment["days"], "receipt": payment["receipt"]}
        yield _section(f"Prior payment {payment['event']}", _pairs({**payment["fields"], **head}))


def _section(title: str, body: str) -> str:
    return f"<h2>{escape(title)}</h2>\n{body}"


def _pairs(values: Mapping[str, Any]) -> str:
    rows = (f"<tr><th>{escape(name)}</th><td>{_text(value)}</td></tr>" for name, value in values.items())
    return f"<table>{''.join(rows)}</table>"


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    names = [name for name in rows[0] if any(row[name] is not None for row in rows)]
    head = "".join(f"<th>{escape(name.replace('_', ' '))}</th>" for name in names)
    body = "".join(f"<tr>{''.join(f'<td>{_text(row[name])}</td>' for name in names)}</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


def _text(value: Any) -> str:
    return "" if value is None else escape(str(value))
