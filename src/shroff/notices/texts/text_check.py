"""Check of a project's texts against the values of their notices: each name, and a trial of each text with sample
values.

The permitted names depend on the kind of text (`definitions.Notice.text_kind`) and on the notice's `show`. A text that
passes was rendered with samples in each of its languages, so its mails fail only for values of another form.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from types import MappingProxyType
from typing import Final

from shroff.errors import nearest
from shroff.json_types import JsonObject, TextMapping
from shroff.notices.added_reports import added_reports
from shroff.notices.definitions import OF_EVENTS, RECEIPT, Notice
from shroff.notices.texts.templates import NoticeTemplates, TextError
from shroff.notices.texts.words import LANGUAGES, WORDS

_ALL = {
    "words": "The built-in texts in the language of the mail, such as `words.none`.",
    "language": "The language of the mail: `en` or `de`.",
    "title": "The heading.",
    "sender": "The name of the sender: `web: { name: ... }` of shroff.yaml.",
    "zone": "The time zone of times in the mail.",
}
_EVENT = {
    "help": "What customers can do without a link: `web: { help: ... }` of shroff.yaml.",
    "amount": "The amount as `show` names it.",
    "day": "The day of the event, such as `5 January`.",
    "show": "The values of the notice's `show`: `show.merchant`. Each is also available by its own name: `merchant`.",
}
_ITEMS = {
    "subject": "The subject line.",
    "items": "What the mail tells, in a list. Each has `sentence`, `title`, `facts` (labels and values), `reasons`, "
    "`show`, and `named` with `event`, `rule`, `entity`, `key`, `reason` and `outcome`.",
    "more": "Number of messages beyond `items`.",
}
_PROJECT = {"project": "The project's name.", "notice": "The notice's name."}
_REPORT = _ALL | _PROJECT | {"subject": _ITEMS["subject"]}
NAMES_OF: Final[Mapping[str, TextMapping]] = MappingProxyType(
    {
        "question": _ALL
        | _EVENT
        | {
            "until": "The expiry of the link.",
            "is_held": "Whether the payment is held.",
            "facts": "Labels and values for a table: the amount, the merchant, the time, the card, and the rest.",
            "link": "The link to the question's page; required in a question.",
        },
        RECEIPT: _ALL | _EVENT | _ITEMS,
        "notice": _ALL
        | _ITEMS
        | {"show": "The values of the notice's `show` for the first of `items`. Each also has its own name."}
        | _PROJECT,
        "report": _REPORT
        | {
            "outcomes": "Rows of the decisions: each has `name`, `count` and `money`.",
            "findings": "Name, number and money (empty without amounts) of what became known on that day.",
            "waiting": "Labels and values: the current backlog for people.",
            "maturity": "A sentence about the share of fraud that is known by now; may be empty.",
            "change": "A sentence that compares the figures with those of the days before; may be empty.",
            "programmes": "A sentence about the ratios of card schemes; may be empty.",
            "estimates": "Labels and values: the 90 % interval of the fraud of weeks whose labels still come.",
            "hours": "24 rows: each has `hour`, `count`, `percent` and `marks`.",
            "is_quiet": "Whether there were no decisions on that day.",
        },
        **{name: {**_REPORT, **report.names} for name, report in added_reports().items()},
    }
)
EVERY = frozenset(name for names in NAMES_OF.values() for name in names)  # for a text that no notice uses yet
_AMOUNT = "24.90\u00a0EUR"
_FACTS = [("Amount", _AMOUNT), ("When", "Monday 5 January 2026, 14:32, UTC")]
_NAMED = {"event": "payment/p-1", "rule": "a_rule", "entity": "card", "key": "c-1", "reason": "9 payments"}


def check_texts(texts: NoticeTemplates, notices: Mapping[str, Notice]) -> list[TextError]:
    """Return the problems of a project's texts, each once."""
    problems = texts.check()
    used = set[str]()
    broken = {error.name for error in problems}
    for notice in notices.values():
        if notice.channel == "mail":
            for error in _check_notice(texts, notice, used):
                if error.name not in broken and error not in problems:
                    problems.append(error)
    for name in texts.names:
        if name not in used and f"notices/{name}" not in broken:
            problems += unknown_in(texts, name, EVERY, "any notice")
    return problems


def names_for(notice: Notice) -> frozenset[str]:
    return frozenset([*NAMES_OF[notice.text_kind], *notice.show])


def _check_notice(texts: NoticeTemplates, notice: Notice, used: set[str]) -> Iterator[TextError]:
    description = f"a {notice.text_kind} (notice {notice.name})"
    allowed = names_for(notice)
    for language in languages_of(notice):
        own_texts = texts.used((notice.texts or notice.name, notice.text_kind), language)
        used.update(own_texts)
        unknown = [error for name in own_texts for error in unknown_in(texts, name, allowed, description)]
        yield from unknown
        if own_texts and not unknown:
            yield from _try_to_render(texts, notice, language)


def unknown_in(texts: NoticeTemplates, name: str, allowed: Collection[str], subject: str) -> Iterator[TextError]:
    """Find names in a project's text that have no value."""
    for text, line in texts.named_in(name):
        if text not in allowed:
            message = f"{text!r} is nothing that {subject} has. {nearest(text, allowed)}"
            yield TextError(f"notices/{name}", message.rstrip(), line)


def languages_of(notice: Notice) -> tuple[str, ...]:
    return (notice.language,) if isinstance(notice.language, str) else LANGUAGES


def _try_to_render(texts: NoticeTemplates, notice: Notice, language: str) -> Iterator[TextError]:
    for values in samples(notice, language):
        try:
            texts.render((notice.texts or notice.name, notice.text_kind), language, values, falls_back=False)
        except TextError as error:
            yield TextError(error.name, f"no mail of notice {notice.name} can come of it: {error.words}", error.line)
            return


def samples(notice: Notice, language: str) -> Iterator[JsonObject]:
    """Return values in the form that a notice's text gets; shown values are always text."""
    texts = WORDS[language]
    facts = dict.fromkeys(notice.show, _AMOUNT)
    base: JsonObject = facts | dict.fromkeys(NAMES_OF[notice.text_kind], "sample")
    base |= {"words": texts, "language": language, "show": facts, "facts": list(_FACTS), "amount": _AMOUNT}
    variants: list[JsonObject]
    if notice.text_kind == "question":
        variants = [{"is_held": is_held, "link": "https://bank.example/confirm/x"} for is_held in (True, False)]
    elif notice.text_kind == "report":
        rows = {
            "outcomes": [{"name": "approved", "count": "12", "money": _AMOUNT}],
            "findings": [("false alarms", "0", "0.00 EUR")],
            "waiting": [("open cases", "0")],
            "estimates": [("week from 1 June", "0.00 to 9.00 EUR")],
            "hours": [{"hour": hour, "count": "1", "percent": 50, "marks": "##"} for hour in range(24)],
        }
        variants = [{**rows, "maturity": texts["maturity"] * is_old, "is_quiet": is_old} for is_old in (True, False)]
    elif notice.text_kind == notice.added:
        variants = [dict(sample) for sample in added_reports()[notice.added].samples]
    else:
        item = {
            "sentence": "9 payments in 10 minutes",
            "title": "payment/p-1",
            "facts": list(_FACTS) if notice.on in OF_EVENTS else [],
            "reasons": ["9 payments"],
            "show": facts,
            "named": {**_NAMED, "outcome": texts["review"]},
        }
        may_be_many = bool(notice.digest_ms or notice.limit or notice.quiet)
        variants = [{"items": [item], "more": 0}, {"items": [item, item], "more": 2}][: 1 + may_be_many]
    yield from (base | sample for sample in variants)
