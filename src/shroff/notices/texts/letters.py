"""Content of letters: mail texts, and documents for webhooks and the lake, rendered when they are sent."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from urllib.parse import quote

from msgspec.json import decode as from_json
from msgspec.json import encode as to_json

from shroff.json_types import JsonMapping, JsonObject, TextDict, TextMapping
from shroff.notices.definitions import RECEIPT, Notice
from shroff.notices.facts import Facts, NoticeEvent
from shroff.notices.store import Due, Question
from shroff.notices.texts.chat_formats import CHAT_BODIES
from shroff.notices.texts.localization import day_text, has_card, moment_text, plain, until_text
from shroff.notices.texts.mails import RenderedText
from shroff.notices.texts.templates import NoticeTemplates
from shroff.notices.texts.words import WORDS
from shroff.project.definitions import Definitions
from shroff.runtime.values import FrozenStruct
from shroff.streams.log import Log

ITEMS_MAX = 50  # shown in one mail
AMOUNT_BAND = re.compile(r"(?P<first>[\d.]+) to (?P<last>[\d.]+)")
HELD = ("challenge", "review", "decline")  # outcomes that stop a payment, unless it was made before the decision
PLACES = ("amount", "merchant", "card")  # names in `show` in the order of the texts; the time stands before `card`


class LetterSender(FrozenStruct):
    """Sender of a mail: display name, base URL of links, and what the reader can do without a link.

    An empty `help` stands for the built-in text.
    """

    name: str
    url: str
    help: str = ""

    def help_in(self, language: str) -> str:
        return self.help or WORDS[language]["help"]


class Letters:
    """Renders letters for a project's notices."""

    def __init__(self, definitions: Definitions, texts: NoticeTemplates, sender: LetterSender) -> None:
        self._definitions = definitions
        self._texts = texts
        self._sender = sender
        self.facts = Facts(definitions)

    # ---- mails

    def question(self, notice: Notice, notice_event: NoticeEvent, question: Question, link: str) -> RenderedText:
        return self._render(notice, {**self.question_values(notice, notice_event, question), "link": link})

    def question_values(
        self, notice: Notice, notice_event: NoticeEvent, question: Question, language: str = ""
    ) -> JsonObject:
        """Return the values for a question's mail and page. They name no person, and only the end of a card number.

        The default language is that of the notice.
        """
        language = language or self.facts.language(notice, notice_event)
        zone = self.facts.zone(notice, notice_event)
        texts = WORDS[language]
        facts = self.facts.display_texts(notice, notice_event, language)
        return {
            "words": texts,
            "language": language,
            "title": texts["was_it_you"],
            "sender": self._sender.name,
            "help": self._sender.help_in(language),
            "amount": facts.get("amount", texts["none"]),
            "day": day_text(notice_event.time_ms, zone, language),
            "until": until_text(question.ends_ms, zone, language),
            "zone": zone,
            "is_held": notice_event.outcome in HELD and not notice.is_already_paid,
            "facts": self._facts(notice, notice_event, language, zone),
            "show": facts,
        }

    def _render(self, notice: Notice, values: JsonMapping) -> RenderedText:
        """Render a mail. The names in `show` are also available on their own, unless something else has that name."""
        facts = {**dict.fromkeys(notice.show, values["words"]["none"]), **values.get("show", {})}
        names = notice.texts or notice.name, notice.text_kind
        return self._texts.render(names, str(values["language"]), {**facts, **values})

    def notice(self, notice: Notice, dues: Sequence[Due], log: Log) -> RenderedText:
        """Render a mail of one or more notifications: to staff, or a receipt to the recipient that the event names."""
        first = self._event_of_due(dues[0], log)
        language = self.facts.language(notice, first)
        zone = self.facts.zone(notice, first)
        texts = WORDS[language]
        is_one = len(dues) == 1
        is_receipt = notice.text_kind == RECEIPT
        items = [self._item(notice, due, self._event_of_due(due, log), language, zone) for due in dues[:ITEMS_MAX]]
        project = plain(self._definitions.settings.name)
        values = {
            "words": texts,
            "language": language,
            "items": items,
            "more": max(len(dues) - ITEMS_MAX, 0),
            "sender": self._sender.name,
            "zone": zone,
            "show": items[0]["show"],
        }
        if is_receipt:
            day = "" if first is None else day_text(first.time_ms, zone, language)
            values |= {
                "help": self._sender.help_in(language),
                "day": day,
                **_receipt_heads(items, len(dues), texts, day),
            }
        else:
            if is_one:
                subject = texts[f"{dues[0].kind}_subject"].format(project=project, **items[0]["named"])
            else:
                subject = texts["digest_subject"].format(project=project, count=len(dues))
            title = items[0]["title"] if is_one else subject
            values |= {"subject": subject, "title": title, "project": project, "notice": notice.name}
        return self._render(notice, values)

    def report(self, notice: Notice, values: JsonMapping) -> RenderedText:
        return self._render(notice, {**values, "notice": notice.name, "sender": self._sender.name})

    # ---- documents

    def document(self, notice: Notice, due: Due, log: Log) -> tuple[str, bytes] | None:
        """Return a document for a webhook or the lake: id of the event, and JSON. None if the event is gone."""
        event_facts = self._event_of_due(due, log)
        if due.event and event_facts is None:
            return None
        if notice.format:
            item = self._item(
                notice, due, event_facts, self.facts.language(notice, event_facts), self.facts.zone(notice, event_facts)
            )
            body = CHAT_BODIES[notice.format](plain(self._definitions.settings.name), notice, due, item)
            return due.key, to_json(body)
        if notice.document and event_facts is not None:
            parts = self.facts.document(notice, event_facts)
            body_text = "{" + ",".join(f"{to_json(name).decode()}:{text}" for name, text in parts.items()) + "}"
            # The same verdict may come again, and each change has a document of its own
            change = f"-{due.key.rpartition('/')[2].partition('-')[0]}" if due.kind == "verdict" else ""
            return event_facts.id + change, body_text.encode()
        values = _sentence_values(due, event_facts, lambda _, recorded: plain(recorded))
        body = {"notice": notice.name, "kind": due.kind, "event": due.event, "rule": due.rule, **values}
        if event_facts is not None:
            body |= {
                "outcome": event_facts.outcome,
                "receipt": event_facts.receipt,
                "reasons": [text for _, text in event_facts.reasons],
            }
        return (event_facts.id if event_facts is not None else due.key), to_json(body)

    # ---- one notification

    def _event_of_due(self, due: Due, log: Log) -> NoticeEvent | None:
        return self.facts.notice_event(log, due.event) if due.event else None

    def _item(self, notice: Notice, due: Due, notice_event: NoticeEvent | None, language: str, zone: str) -> JsonObject:
        texts = WORDS[language]
        names = _sentence_values(due, notice_event, self.facts.reason)
        outcome = str(names.get("outcome", ""))
        names["outcome"] = texts.get(outcome, outcome)
        if due.kind == "traffic":
            value = str(names.get("value", ""))
            band = AMOUNT_BAND.fullmatch(value)
            names["value"] = texts["from_to"].format(**band.groupdict()) if band else texts.get(value, value)
        if due.kind == "verdict":
            for name in ("verdict", "source", "old_verdict", "old_source"):
                names[name] = texts.get(names[name] or "none", names[name])
        own_answer = str(names.get("answer", ""))
        if own_answer:
            names["answer"] = texts[own_answer]
        if notice.text_kind == RECEIPT:
            sentence = texts[f"receipt_{_receipt_of(due, outcome, own_answer)}"]
            if notice.is_already_paid and outcome in HELD:
                sentence = texts["receipt_flag"]
        else:
            sentence = texts["answer_line" if due.kind == "answer" else due.kind].format(**names)
        facts = [] if notice_event is None else self._facts(notice, notice_event, language, zone)
        if due.kind == "case" and "case" in names and notice.text_kind != RECEIPT:
            facts.append((texts["the_case"], f"{self._sender.url.rstrip('/')}/cases/{names['case']}"))
        is_for_staff = notice.text_kind == "notice"
        if (
            is_for_staff
            and notice_event is not None
            and due.kind in {"flag", "decision", "verdict"}
            and not has_card(notice_event.id)
        ):
            address = f"{self._sender.url.rstrip('/')}/decisions/{notice_event.type}/{quote(notice_event.id, safe='')}"
            facts.append((texts["the_decision"], address))
        if "path" in names:
            facts.append((texts["decisions"], f"{self._sender.url.rstrip('/')}{names['path']}"))
        recorded = notice_event.reasons if notice_event is not None and due.kind == "decision" else []
        reasons = [self.facts.reason(*reason) for reason in recorded]
        title = (
            sentence if due.kind in {"failure", "spike", "traffic"} else plain(str(names.get("event", ""))) or sentence
        )
        none = dict.fromkeys(notice.show, texts["none"])
        shown_facts = none if notice_event is None else self.facts.display_texts(notice, notice_event, language)
        item = {"sentence": sentence, "title": title, "facts": facts, "reasons": reasons}
        return item | {"named": names, "show": shown_facts}

    def _facts(self, notice: Notice, notice_event: NoticeEvent, language: str, zone: str) -> list[tuple[str, str]]:
        """Return labels and values: amount, payee, time, card, and the rest.

        The card is left out if its number is unknown.
        """
        texts = WORDS[language]
        shown_facts = self.facts.display_texts(notice, notice_event, language)
        facts = [(texts[name], shown_facts[name]) for name in PLACES[:2] if name in shown_facts]
        facts.append((texts["when"], moment_text(notice_event.time_ms, zone, language)))
        facts += [
            (texts[name], shown_facts[name])
            for name in PLACES[2:]
            if shown_facts.get(name, texts["none"]) != texts["none"]
        ]
        other_names = (name for name in shown_facts if name not in PLACES)
        return [*facts, *((name.replace("_", " ").capitalize(), shown_facts[name]) for name in other_names)]


def _receipt_of(due: Due, outcome: str, answer: str) -> str:
    if answer:
        return f"answer_{answer}"
    return outcome if due.kind == "decision" else due.kind


def _receipt_heads(items: Sequence[JsonMapping], count: int, texts: TextMapping, day: str) -> TextDict:
    """Return amount, subject and title of a receipt for `count` events."""
    amount = items[0]["show"].get("amount", texts["none"])
    if count > 1:
        subject = title = texts["receipts_subject"].format(count=count)
    elif amount == texts["none"] or not day:
        subject = texts["receipt_subject_plain"]
        title = items[0]["sentence"]
    else:
        subject = texts["receipt_subject"].format(amount=amount, day=day)
        title = items[0]["sentence"]
    return {"amount": amount, "subject": subject, "title": title}


def _sentence_values(due: Due, notice_event: NoticeEvent | None, reason_of: Callable[[str, str], str]) -> JsonObject:
    """Return the values for the sentences of a notification, safe for mails.

    Args:
        reason_of: Formats the reason of a rule from its recorded text.
    """
    details: JsonObject = from_json(due.told) if due.told else {}
    detail_texts = {name: plain(value) if isinstance(value, str) else value for name, value in details.items()}
    flag = (
        next((candidate for candidate in notice_event.flags if candidate.rule == due.rule), None)
        if notice_event is not None
        else None
    )
    entity, key = ("", "") if flag is None else (flag.entity, flag.key)
    recorded_reason = str(details.get("reason", "" if flag is None else flag.reason))
    reason = reason_of(due.rule, recorded_reason)
    outcome = "" if notice_event is None else notice_event.outcome
    base = {"event": due.event, "rule": due.rule, "entity": entity, "key": key, "reason": reason, "outcome": outcome}
    return {**{name: plain(value) for name, value in base.items()}, **detail_texts, "reason": reason}
