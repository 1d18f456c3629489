"""Notices as declared: recipients, content, time and channel. They change no decision, so no version contains them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import field
from datetime import date
from typing import Any, Literal
from urllib.parse import urlsplit

from shroff.errors import Problem, nearest
from shroff.events.labels import VerdictInForce
from shroff.json_types import JsonMapping, JsonObject, TextMapping
from shroff.language import loader
from shroff.language.expression import Node as Expression
from shroff.language.expression import ThisField
from shroff.language.names import Scope
from shroff.language.shapes import read_shape
from shroff.language.types import BOOLEAN
from shroff.language.values import DAY_MS, HOUR_MS, is_zone, parse_duration
from shroff.language.yaml import text as yamltext
from shroff.language.yaml.text import Mapping as YamlMapping
from shroff.language.yaml.text import Node, Scalar
from shroff.notices.added_reports import added_reports
from shroff.notices.keys import NOTICE
from shroff.notices.texts.words import LANGUAGES
from shroff.people.addresses import is_address
from shroff.project.definitions import Definitions
from shroff.runtime.values import FrozenStruct, frozen
from shroff.streams.settings import ID_PLACEHOLDER

FOLDER = "notices/"
ENDING = ".yaml"
_WORD = re.compile(r"\d+|[a-z_][\w.]*\w")
DONE = ("sent", "refused")  # results of another notice's messages
OF_EVENTS = frozenset({"flag", "decision", "verdict", "answer", "case", *DONE})  # triggers that have an event
RECEIPT = "receipt"  # kind of a mail to the recipient that the event names, without a question
# Keys whose texts are taken as written
_AS_WRITTEN = frozenset({"on", "channel", "url", "secret", "format", "folder", "file", "texts"})
_DURATIONS = frozenset({"within", "lasts", "digest"})


class FromEvent(FrozenStruct):
    """A value from an event: a field, which may be personal, or an expression."""

    field: str = ""
    node: Expression | None = None


class To(FrozenStruct):
    """Recipients: exactly one of these."""

    addresses: tuple[str, ...] = ()
    of_event: FromEvent | None = None
    role: str = ""


class Quiet(FrozenStruct):
    """Quiet hours, in minutes of the day; nothing is sent in them. They may cross midnight."""

    start: int
    end: int
    zone: str


class Limit(FrozenStruct):
    """Largest number of mails of one rule to one recipient within a time."""

    count: int
    per_ms: int


@frozen
class Notice:
    """One notice. `zone` and `language` are fixed, or come from the event; durations are in milliseconds."""

    name: str
    on: str = "flag"
    channel: Literal["mail", "webhook", "lake"] = "mail"
    event: str = ""
    outcomes: frozenset[str] = frozenset()
    of: frozenset[str] = frozenset()
    answers: frozenset[str] = frozenset({"yes", "no"})
    verdicts: frozenset[str] = frozenset()  # empty: any
    sources: frozenset[str] = frozenset()
    ends: bool = False
    is_already_paid: bool = False
    when: Expression | None = None
    within_ms: int = DAY_MS
    to: To = field(default_factory=To)
    url: str = field(default="", repr=False)
    secret: str = field(default="", repr=False)
    format: str = ""  # in `texts.chat_formats`; empty for shroff's JSON
    folder: str = ""
    file: str = ID_PLACEHOLDER
    document: Mapping[str, Expression] = field(default_factory=dict)
    show: Mapping[str, Expression] = field(default_factory=dict)
    reasons: Mapping[tuple[str, str], str] = field(default_factory=dict)  # for customers, by rule and language
    asks: bool = False
    lasts_ms: int = DAY_MS
    digest_ms: int = 0
    limit: Limit | None = None
    quiet: Quiet | None = None
    added: str = ""  # report of a plug-in and its content, instead of decisions
    report: Any = None
    days: int = 1  # length of a report's period
    at_minute: int = 7 * 60
    zone: str | FromEvent = "UTC"
    language: str | FromEvent = "en"
    texts: str = ""
    times_usual: int = 5
    least: int = 20
    is_verbose: bool = False
    place: Scalar | YamlMapping | None = field(default=None, compare=False, repr=False)

    @property
    def text_kind(self) -> str:
        """Kind of its built-in text: a question, a receipt for a customer, a report, or a notice to staff.

        `text_check.NAMES_OF` has the names that each may use.
        """
        if self.asks:
            return "question"
        if self.to.of_event is not None:
            return RECEIPT
        if self.on == "report":
            return self.added or "report"
        return "notice"

    def count_report(self, context: Any, day: date) -> bytes:
        """Compute the report of a plug-in for a day, as JSON (`AddedReport.count`)."""
        return added_reports()[self.added].count(context, self.report, str(self.zone), day)

    @property
    def recipient(self) -> str:
        """Recipients as users may see them: no address, and of a webhook only the host, since paths may contain
        keys.
        """
        if self.channel == "webhook":
            url = urlsplit(self.url)
            return f"{url.scheme}://{url.netloc.rpartition('@')[2]}"
        count = len(self.to.addresses)
        addressed = "the event" if self.to.of_event is not None else f"{count} address{'es' * (count != 1)}"
        return self.to.role or addressed if self.channel == "mail" else f"folder {self.folder}"

    def accepts(self, verdict: VerdictInForce | None) -> bool:
        """Whether an active verdict is one of `verdicts`, from one of `sources`."""
        if verdict is None:
            return False
        is_named = not self.verdicts or verdict.verdict in self.verdicts
        return is_named and (not self.sources or verdict.source in self.sources)

    def reports(self, verdict: VerdictInForce, before: VerdictInForce | None) -> bool:
        """Whether it reports that an event's active verdict, `before`, was replaced: an accepted verdict began, or
        ended. The same verdict from another accepted source is no news.
        """
        reported, other = (before, verdict) if self.ends else (verdict, before)
        is_same = other is not None and reported is not None and reported.verdict == other.verdict
        return self.accepts(reported) and not (is_same and self.accepts(other))

    def is_end_of(self, other: Notice) -> bool:
        """Whether it reports the end of the verdicts whose beginning the other notice on verdicts reports."""
        is_same = (self.event, self.verdicts, self.sources) == (other.event, other.verdicts, other.sources)
        return self.ends and not other.ends and is_same

    def is_about(self, other: Notice, state: str) -> bool:
        """Whether it reports that a message of another notice was sent or refused."""
        is_meant = other.name in self.of if self.of else other.channel == "mail"
        return self.on == state and is_meant and other.on not in DONE


def load_notices(
    files: TextMapping, definitions: Definitions, problems: list[Problem], warnings: list[Problem], zone: str = "UTC"
) -> dict[str, Notice]:
    """Load the notices among a project's files, by name. `zone` is the default time zone."""
    notices: dict[str, Notice] = {}
    for file in sorted(files):
        if file.startswith(FOLDER) and file.endswith(ENDING):
            name = file[len(FOLDER) : -len(ENDING)]
            tree = yamltext.read(files[file], file, problems)
            notice = _NoticeLoader(name, definitions, problems, warnings, zone).load(tree, file)
            if notice is not None:
                notices[name] = notice
    _hold_against_rules(notices, definitions, problems, warnings)
    problems += [
        notice.place.problem(f"there is no notice {name!r}.", nearest(name, notices))
        for notice in notices.values()
        for name in sorted(notice.of - notices.keys())
        if notice.place is not None
    ]
    return notices


_UNNAMED = {  # recipients that a rule may notify without a notice of its own
    "analysts": ("analysts", "It defines who gets the mail. Without it, hits raise alerts in the queue alone."),
    "customer": ("customers", "It defines their addresses and the question."),
}


def _hold_against_rules(
    notices: Mapping[str, Notice], definitions: Definitions, problems: list[Problem], warnings: list[Problem]
) -> None:
    texts = [notice.reasons.keys() for notice in notices.values() if notice.reasons]
    for rule in definitions.rules:
        if texts and rule.effect in {"challenge", "review", "decline"} and rule.place is not None:
            codes = {(code, language) for keys in texts for code, language in keys}
            if missing := [
                missing_language
                for missing_language in LANGUAGES
                if codes.isdisjoint({(rule.id, missing_language), ("default", missing_language)})
            ]:
                message = (
                    f"rule {rule.id} has no text for customers in {' and '.join(missing)}, and there is no default."
                )
                rule.place.report(warnings, message, "Write one of them under 'reasons' of the notice.")
        notice = notices.get(rule.notify or "")
        if rule.notify in _UNNAMED and notice is None and rule.place is not None:
            whom, hint = _UNNAMED[rule.notify]
            message = f"rule {rule.id} notifies {whom}, but notices/{rule.notify}.yaml is missing, so no mail is sent."
            rule.place.report(warnings, message, hint)
        if notice is None or notice.place is None:
            continue
        if notice.on != "flag":
            message = f"rule {rule.id} names this notice, which is on {notice.on}s, not on flags."
            notice.place.report(problems, message, "Write 'on: flag', or give the rule a separate notice.")
        elif notice.event and notice.event != rule.on:
            message = f"rule {rule.id} names this notice and is on {rule.on}; the notice is about {notice.event}."
            notice.place.report(problems, message, "Write a separate notice for that event type.")
    notified = {rule.notify for rule in definitions.rules}
    for notice in notices.values():
        if notice.on == "flag" and notice.name not in notified and notice.place is not None:
            hint = f"Write 'notify: {notice.name}' in a rule, or another trigger under 'on'."
            notice.place.report(warnings, "no rule names this notice, so it is never sent.", hint)


class _NoticeLoader:
    def __init__(
        self, name: str, definitions: Definitions, problems: list[Problem], warnings: list[Problem], zone: str
    ) -> None:
        self._name = name
        self._definitions = definitions
        self._zone = zone
        self._problems = problems
        self._warnings = warnings

    def load(self, tree: Node | None, file: str) -> Notice | None:
        if tree is None:
            self._problems.append(
                Problem(file, 1, 1, "", "a notice is empty; it must at least name the recipient.", "")
            )
            return None
        if not loader.NAME.fullmatch(self._name):
            message = f"{self._name!r} cannot be the name of a notice, which is the name of its file."
            hint = "Names are lower-case letters, digits and _, and begin with a letter."
            self._problems.append(Problem(file, 0, 0, "", message, hint))
        problems_before = len(self._problems)
        plain = read_shape(tree, NOTICE, self._problems, "a notice")
        if len(self._problems) > problems_before or not isinstance(plain, dict) or not isinstance(tree, YamlMapping):
            return None
        notice = self._notice(tree, plain)
        self._check(tree, notice)
        return notice if len(self._problems) == problems_before else None

    def _notice(self, tree: YamlMapping, plain: JsonMapping) -> Notice:
        self._event = self._event_of(tree, plain)
        limit = plain.get("limit")
        quiet = plain.get("quiet")
        zone = self._text_or_event(tree, plain, "zone", self._zone)
        self._check_zone(tree.get("zone"), zone)
        contents = (
            (name, kind.load(tree, self._definitions, self._problems)) for name, kind in added_reports().items()
        )
        added, report = next((pair for pair in contents if pair[1] is not None), ("", None))
        options: JsonObject = {name: plain[name] for name in _AS_WRITTEN & plain.keys()}
        options |= {f"{name}_ms": parse_duration(plain[name]) for name in _DURATIONS & plain.keys()}
        return Notice(
            self._name,
            event=self._event,
            outcomes=frozenset(plain.get("outcomes", ())),
            of=frozenset(plain.get("of", ())),
            answers=frozenset(plain.get("answers", ("upheld", "overturned") if "reasons" in plain else ("yes", "no"))),
            verdicts=frozenset(plain.get("verdicts", ())),
            sources=frozenset(plain.get("sources", ())),
            ends=plain.get("ends") == "true",
            is_already_paid=plain.get("already_paid") == "true",
            when=self._expression(tree.get("when"), "when", is_condition=True),
            to=self._recipients(tree.get("to"), plain.get("to")),
            document=self._expressions(tree.get("document"), "document"),
            show=self._expressions(tree.get("show"), "show") or self._amount(),
            reasons=self._reasons(tree.get("reasons"), plain.get("reasons", {})),
            asks=plain.get("ask") == "true",
            limit=None if limit is None else Limit(int(float(limit["count"])), parse_duration(limit["per"])),
            quiet=None if quiet is None else self._quiet(tree.get("quiet"), quiet),
            added=added,
            report=report,
            days=7 if plain.get("every") == "week" else 1,
            at_minute=_minute_of_day(plain.get("at", "07:00")),
            zone=zone,
            language=self._text_or_event(tree, plain, "language", "en"),
            times_usual=int(float(plain.get("times_usual", "5"))),
            least=int(float(plain.get("least", "5" if plain.get("on") == "traffic" else "20"))),
            is_verbose=plain.get("verbose") == "true",
            place=tree,
            **options,
        )

    # ---- values from the event

    def _event_of(self, tree: YamlMapping, plain: JsonMapping) -> str:
        """Return the event type: the named one, else that of its rules, else the only decided one; empty if there is
        none.
        """
        types = self._definitions.events.types
        event_key = tree.get("event")
        if plain.get("on", "flag") not in OF_EVENTS:
            if event_key is not None:
                message = f"a notice on {plain['on']} has no event, so 'event' has no effect."
                event_key.report(self._problems, message)
            return ""
        if event_key is None:
            rules = {rule.on for rule in self._definitions.rules if rule.notify == self._name}
            candidates = rules if len(rules) == 1 else set(self._definitions.events.decided)
            return next(iter(candidates)) if len(candidates) == 1 else ""
        text = str(plain["event"])
        if text not in types:
            event_key.report(self._problems, f"{text!r} is not an event type.", nearest(text, types))
            return ""
        return text

    def _expression(self, node: Node | None, subject: str, *, is_condition: bool = False) -> Expression | None:
        if node is None:
            return None
        if not self._event:
            message = f"{subject} reads an event, but its type is not named."
            node.report(self._problems, message, "Name it: 'event: payment'.")
            return None
        definitions = self._definitions
        types = {name: feature.type for name, feature in definitions.features.items()}
        scope = Scope(
            definitions.names,
            what=f"{subject} of a notice",
            this=(self._event,),
            feature=types.get,
            feature_names=lambda: list(types),
            reads_score=True,
        )
        return loader.expression(node, scope, self._problems, BOOLEAN if is_condition else None)

    def _expressions(self, node: Node | None, subject: str) -> dict[str, Expression]:
        entries = node.entries if isinstance(node, YamlMapping) else ()
        expressions = {key.text: self._expression(value, f"{subject}.{key.text}") for key, value in entries}
        return {name: expression for name, expression in expressions.items() if expression is not None}

    def _amount(self) -> dict[str, Expression]:
        type_ = self._definitions.events.types.get(self._event)
        amount = None if type_ is None else type_.amount_field
        return {} if amount is None else {"amount": ThisField(amount.type, amount.name)}

    def _value_from_event(self, node: Node, plain: JsonMapping, subject: str) -> FromEvent:
        if "look_up" in plain and isinstance(node, YamlMapping):
            return FromEvent(node=self._expression(node.get("look_up"), subject))
        name = str(plain["field"])
        type_ = self._definitions.events.types.get(self._event)
        if type_ is None:
            node.report(self._problems, f"{subject} reads a field, but its event type is not named.")
        elif name not in (field_names := [field.name for field in type_.declared]):
            node.report(self._problems, f"{self._event} has no field {name!r}.", nearest(name, field_names))
        return FromEvent(name)

    def _text_or_event(self, tree: YamlMapping, plain: JsonMapping, subject: str, default: str) -> str | FromEvent:
        node = tree.get(subject)
        setting = plain.get(subject, default)
        return (
            self._value_from_event(node, setting, subject)
            if isinstance(setting, dict) and node is not None
            else str(setting)
        )

    def _recipients(self, node: Node | None, plain: Any) -> To:
        if node is None or plain is None:
            return To()
        if isinstance(plain, dict):
            return To(role=plain["role"]) if "role" in plain else To(of_event=self._value_from_event(node, plain, "to"))
        addresses = (plain,) if isinstance(plain, str) else tuple(plain)
        for address in addresses:
            if not is_address(address):
                node.report(self._problems, f"{address!r} is not a mail address.")
        return To(addresses)

    def _reasons(self, node: Node | None, plain: Mapping[str, TextMapping]) -> dict[tuple[str, str], str]:
        """Return the texts for customers. They must not reveal rules, features or numbers."""
        rules = [rule.id for rule in self._definitions.rules]
        secret = {name for name in (*rules, *self._definitions.features) if not name.isalpha()}
        if not isinstance(node, YamlMapping):
            return {}
        key_nodes = {key.text: key for key, _ in node.entries}
        fields = (
            f"{type_}.{name}"
            for type_, event_type in self._definitions.events.types.items()
            for name in event_type.field_names
        )
        allowed = ["default", *rules, *self._definitions.features, *fields]
        for code, texts in plain.items():
            if code not in allowed:
                message = f"reasons: {code!r} is no rule, feature or field."
                key_nodes[code].report(self._warnings, message, nearest(code, allowed))
            for language, text in texts.items():
                if leaked := next((word for word in _WORD.findall(text) if word in secret or word.isdecimal()), ""):
                    message = f"reasons.{code}.{language} names {leaked!r}, a rule, a feature or a number."
                    key_nodes[code].report(self._problems, message, "Say it in the customer's words, without it.")
        return {(code, language): text for code, texts in plain.items() for language, text in texts.items()}

    # ---- the rest

    def _quiet(self, node: Node | None, plain: TextMapping) -> Quiet:
        zone = plain.get("zone", self._zone)
        self._check_zone(node.get("zone") if isinstance(node, YamlMapping) else None, zone)
        if plain["from"] == plain["to"] and node is not None:
            node.report(
                self._problems, f"quiet hours from {plain['from']} to {plain['to']} are empty, or the whole day."
            )
        return Quiet(_minute_of_day(plain["from"]), _minute_of_day(plain["to"]), zone)

    def _check_zone(self, node: Node | None, zone: str | FromEvent) -> None:
        if isinstance(zone, str) and node is not None and not is_zone(zone):
            message = f"{zone!r} is not a time zone."
            node.report(self._problems, message, "Use a name of the tz database: Europe/Berlin, UTC.")

    def _check(self, tree: YamlMapping, notice: Notice) -> None:
        for key, message in _misfits(notice):
            node = tree.get(key)
            self._problems.append((tree if node is None else node).problem(message))


def _misfits(notice: Notice) -> Iterable[tuple[str, str]]:
    has_to = bool(notice.to.addresses or notice.to.of_event or notice.to.role)
    if notice.channel == "mail" and not has_to:
        yield "to", "a notice by mail lacks 'to': an address, { field: … }, { look_up: … } or { role: … }."
    if notice.channel == "webhook" and not (notice.url and (notice.secret or notice.format in {"slack", "teams"})):
        yield "url", "a notice by webhook needs 'url' and 'secret', which signs the calls."
    if notice.format and (notice.channel != "webhook" or notice.document or notice.on == "report"):
        yield "format", "'format' is for webhooks, without 'document' and not for the daily report."
    if notice.channel == "lake" and not (notice.folder and notice.document):
        yield "folder", "a notice into the lake needs 'folder' and 'document', its content."
    if notice.channel != "mail" and (notice.asks or notice.digest_ms or notice.is_verbose):
        yield "channel", "'ask', 'digest' and 'verbose' are for mails."
    for key in ("verdicts", "sources"):
        if getattr(notice, key) and notice.on not in {"answer", "verdict"}:
            yield key, f"'{key}' is about the active verdict: write 'on: verdict', or 'on: answer'."
    if notice.ends and notice.on != "verdict":
        yield "ends", "'ends' is about a verdict that another one replaces: write 'on: verdict'."
    if notice.of and notice.on not in DONE:
        yield "of", "'of' names notices whose messages are sent or refused: write 'on: sent' or 'on: refused'."
    if notice.on in {*DONE, "verdict"} and notice.to.of_event is not None:
        yield "to", f"a notice on {notice.on} is for people and systems here: an address, or {{ role: … }}."
    if notice.added and notice.on != "report" and isinstance(notice.place, YamlMapping):
        keys = [key.name for key in added_reports()[notice.added].keys]
        message = f"{' and '.join(map(repr, keys))} are for a daily mail: write 'on: report'."
        yield next(key for key in keys if notice.place.get(key) is not None), message
    if notice.days > 1 and (notice.on != "report" or notice.added):
        yield "every", "'every: week' is for reports of decisions: write 'on: report', without figures or funnels."
    if notice.reasons and (notice.on != "answer" or not notice.event):
        yield "reasons", "'reasons' needs 'on: answer', and the event type whose decisions they explain."
    if notice.asks and notice.on not in {"flag", "decision"}:
        yield "ask", "'ask' needs 'on: flag' or 'on: decision'."
    if notice.asks and notice.to.of_event is None:
        yield "to", "a question must go to an address from the event: { field: … } or { look_up: … }."
    if notice.asks and notice.digest_ms:
        yield "digest", "each question has its own link, so questions cannot be sent as a digest."
    if notice.on not in OF_EVENTS and (notice.to.of_event is not None or notice.channel == "lake"):
        yield "to", f"a notice on {notice.on} has no event, so 'to' must name the recipient."
    if notice.is_verbose and not notice.digest_ms and notice.on != "report":
        yield "verbose", "'verbose' reports that nothing happened, so it needs 'digest', its interval."
    if notice.limit is not None and (notice.limit.count < 1 or notice.limit.per_ms < 1):
        yield "limit", "a limit must allow at least one mail, within a time above zero."
    if notice.lasts_ms > 30 * DAY_MS or notice.lasts_ms < HOUR_MS // 12:
        yield "lasts", "a link must be valid for five minutes to thirty days."


def _minute_of_day(text: str) -> int:
    return int(text[:2]) * 60 + int(text[3:])
