"""The keys of notices/*.yaml, each with what it means (see `language.keys`). A notice is called as its file is."""

from __future__ import annotations

from shroff.events.definitions import SOURCES, VERDICTS
from shroff.language.keys import (
    ANY,
    DURATION,
    EXPRESSION,
    NAME,
    SWITCH,
    WHOLE,
    Either,
    Key,
    Many,
    MappingShape,
    One,
    Required,
    choice,
    mapping_shape,
    own_names,
)
from shroff.notices.added_reports import added_reports
from shroff.notices.texts.words import LANGUAGES
from shroff.project.file_kinds import ProjectFile
from shroff.runtime.values import replace
from shroff.streams.settings import DOCUMENT_NAME, HTTP

ON = "flag decision verdict answer case sent refused failure spike traffic report".split()
CHANNELS = ("mail", "webhook", "lake")
FORMATS = ("slack", "teams", "pagerduty")
OUTCOMES = ("approve", "challenge", "review", "decline")
ADDRESS = One("a mail address", r"^[^\s@,;<>\"()]+@[^\s@,;<>\"()]+$")
TIME_OF_DAY = One("a time of day such as 07:30", r"^([01]\d|2[0-3]):[0-5]\d$")
ZONE = One("a time zone such as Europe/Berlin", r"^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*$")


class _ValueFromEvent:
    """A value from the event.

    field: A field of the event; personal fields are allowed.
        Example: email
    look_up: An expression over the event, such as a column of a look-up table.
        Example: tables.contacts[this.card].email
    """

    field = NAME
    look_up = EXPRESSION


_OF_THE_EVENT = mapping_shape(_ValueFromEvent).keys
FROM_EVENT = MappingShape("a value from the event", _OF_THE_EVENT, is_single=True)


class _RecipientFromEvent:
    """A recipient from the event, or a role.

    role: All users with this role and a mail address.
        Example: analyst
    """

    of_the_event = _OF_THE_EVENT
    role = choice("admin", "analyst", "author", "viewer")


TO = Either((ADDRESS, Many("addresses", ADDRESS), replace(mapping_shape(_RecipientFromEvent), is_single=True)))


class _QuietHours:
    """Quiet hours without messages; messages from these hours are sent together at their end.

    from: Start of the quiet hours.
        Example: 22:00
    to: End of the quiet hours, maybe on the next day.
        Example: 07:00
    zone: Time zone of these times; by default the project's.
        Example: Europe/Berlin
    """

    from_ = Required(TIME_OF_DAY)
    to = Required(TIME_OF_DAY)
    zone = ZONE


QUIET = mapping_shape(_QuietHours)


class _RateLimit:
    """Rate limit per recipient and rule.

    count: Maximum number of mails in the time `per`.
        Example: 3
    per: The time for the limit. Messages above it are combined into one mail at its end; further questions to a
        customer are not sent.
        Example: 1h
    """

    count = Required(WHOLE)
    per = Required(DURATION)


LIMIT = mapping_shape(_RateLimit)


class _TextsByLanguage:
    """Texts by language.

    en: English text.
    de: German text.
    """

    en = ANY
    de = ANY


class _Notice:
    """A notice.

    on: What triggers the notice: `flag` (a rule with `notify` hits), `decision`, `verdict` (the active verdict of an
        event changes), `answer` (of a customer), `case` (a case opens), `sent` and `refused` (delivery results of
        another notice), `failure` (of the service), `spike` (a rule flags far more than usual), `traffic` (a merchant,
        country, amount or other value has far more events than in its week), or `report` (once a day).
        Default: flag
        Example: decision
    event: The event type, whose fields `when`, `to` and `show` read.
        Example: payment
    outcomes: Only decisions with these outcomes.
        Example: [decline, review]
    of: Only messages of these notices. For `on: sent` and `on: refused`.
        Default: all notices by mail
        Example: [customer]
    answers: Only these answers. Of an appeal they are `wrong` (it was made), `upheld` and `overturned`.
        Default: [yes, no]; with `reasons`, [upheld, overturned]
        Example: [no]
    verdicts: Only if the active verdict of the event is one of these; after an answer, once that counts. For
        `on: verdict` and `on: answer`.
        Default: any
        Example: [fraud]
    sources: Only if the active verdict comes from one of these sources. For `on: verdict` and `on: answer`. With
        chargebacks left out, nobody is refunded twice.
        Default: any
        Example: [analyst, customer]
    ends: true: when such a verdict ends, since another one replaces it, instead of when it begins. Only if its
        beginning was reported. For `on: verdict`.
        Default: false
        Example: true
    already_paid: true: the money has moved before this project decides, so the texts never say that it was stopped.
        Default: false
        Example: true
    when: Only if this is true: an expression over the event and its features, without aggregates.
        Example: this.amount >= 50
    within: Maximum age of an event by its event time, of a verdict from its becoming known to its arrival; older ones,
        such as those of imported files, cause no message.
        Default: 1d
        Example: 2h
    to: The recipients: one or several addresses, a field of the event, a look-up table, or the users with a role.
        Example: { field: email }
        Example: fraud@bank.example
    channel: The channel of delivery.
        Default: mail
        Example: webhook
    url: The URL that a webhook calls.
        Example: https://bank.example/hooks/fraud
    secret: Secret that signs webhook calls, an environment variable; for PagerDuty the integration key.
        Example: ${HOOK_SECRET}
    format: The body of a webhook call, for a chat or an on-call service.
        Default: shroff's own JSON
        Example: slack
    folder: The lake folder for documents, one per event.
        Example: fraud_confirmation
    file: File name of a document, without `.json`; `{id}` is replaced by the event's id, and for
        `on: verdict` also by the number of the change.
        Default: {id}
        Example: '{id}_fraud_confirmation'
    document: Content of a document or webhook call: names with expressions over the event.
        Example: { transaction_id: this.payment_id, refund: this.amount }
    show: What mails may show of the event: names with expressions. The built-in texts use `amount`, `merchant` and
        `card`; of a card, only the last four characters are shown.
        Default: the event's amount
        Example: { amount: this.amount, merchant: this.merchant, card: this.card }
    ask: true: the mail asks the recipient "Was this you?", with a link that can be answered once.
        Default: false
        Example: true
    reasons: Texts for the customer by rule and language, for the page of `shroff why`; of a model's reasons by feature
        or field, as `card.spent_24h`; `default` is for all others. They name no rule, feature or number. The notice
        itself says how an appeal ended: `on: answer`.
        Example: { card_testing: { en: "There were many small payments within a short time." } }
    lasts: How long the link is valid.
        Default: 1d
        Example: 3d
    digest: Combines messages to a recipient within this time into one mail.
        Example: 15m
    limit: Rate limit per recipient.
        Example: { count: 3, per: 1h }
    quiet: Quiet hours without messages.
        Example: { from: 22:00, to: 07:00, zone: Europe/Berlin }
    every: How often a report of decisions is sent: each day, of the day before, or each Monday, of the week before.
        Default: day
    at: Time of the report, in `zone`.
        Default: 07:00
    zone: Time zone for days and times in texts: a zone, or a value from the event. By default it is the project's.
        Example: Europe/Berlin
        Example: { field: time_zone }
    texts: The texts to use: NAME.txt.j2 and NAME.html.j2 beside this file; NAME.de.txt.j2 for one language.
        Default: texts with the notice's name, else the built-in ones
        Example: was_this_you
    times_usual: A spike is at least this many times the rule's mean flags per hour of the last week.
        Default: 5
    least: Minimum number of flags in an hour for a spike; of events in 15 minutes for traffic, where it is 5.
        Default: 20
    verbose: true: also sent if there is nothing to report, so that silence means a problem. For digests.
        Default: false
    """

    on = choice(*ON)
    event = NAME
    outcomes = Many("outcomes", choice(*OUTCOMES))
    of = Many("notices", NAME)
    answers = Many("answers", choice("yes", "no", "wrong", "upheld", "overturned"))
    verdicts = Many("verdicts", choice(*VERDICTS))
    sources = Many("sources", choice(*SOURCES))
    ends = SWITCH
    already_paid = SWITCH
    when = EXPRESSION
    within = DURATION
    to = TO
    channel = choice(*CHANNELS)
    url = HTTP
    secret = ANY
    format = choice(*FORMATS)
    folder = One("a folder: small letters, digits, _ and -", r"^[a-z][a-z0-9_-]{0,62}$")
    file = DOCUMENT_NAME
    document = own_names("names with expressions", EXPRESSION, pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,99}$")
    show = own_names("names with expressions", EXPRESSION)
    ask = SWITCH
    reasons = own_names(
        "texts by rule, feature or field", mapping_shape(_TextsByLanguage), pattern=r"^[A-Za-z_][A-Za-z0-9_.]{0,199}$"
    )
    lasts = DURATION
    digest = DURATION
    limit = LIMIT
    quiet = QUIET
    more = tuple(key for report in added_reports().values() for key in report.keys)
    every = choice("day", "week")
    at = TIME_OF_DAY
    zone = Either((ZONE, FROM_EVENT))
    language = Key(
        "language",
        f"The language of the texts: {' or '.join(LANGUAGES)}, or a value from the event.",
        Either((choice(*LANGUAGES), FROM_EVENT)),
        default="en",
        examples=("de", "{ field: language }"),
    )
    texts = NAME
    times_usual = WHOLE
    least = WHOLE
    verbose = SWITCH


NOTICE = mapping_shape(_Notice)
NOTICE_FILE = ProjectFile(
    "notice", "notices/*.yaml", "Notifications: triggers, recipients, channels and texts.", NOTICE
)
