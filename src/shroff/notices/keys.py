"""The keys of notices/*.yaml, each with what it means (see `language.keys`). A notice is called as its file is."""

from __future__ import annotations

from typing import Final

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
from shroff.streams.settings import ALONE, DOCUMENT_NAME, HTTP

ON: Final = ("flag", "decision", "answer", "case", "sent", "refused", "failure", "spike", "traffic", "report")
CHANNELS: Final = ("mail", "webhook", "lake")
FORMATS: Final = ("slack", "teams", "pagerduty")
OUTCOMES: Final = ("approve", "challenge", "review", "decline")
ADDRESS: Final = One("a mail address", r"^[^\s@,;<>\"()]+@[^\s@,;<>\"()]+$")
TIME_OF_DAY: Final = One("a time of day such as 07:30", r"^([01]\d|2[0-3]):[0-5]\d$")
ZONE: Final = One("a time zone such as Europe/Berlin", r"^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*$")
_OF_THE_EVENT: Final = (
    Key("field", "A field of the event; personal fields are allowed.", NAME, examples=("email",)),
    Key(
        "look_up",
        "An expression over the event, such as a column of a look-up table.",
        EXPRESSION,
        examples=("tables.contacts[this.card].email",),
    ),
)
FROM_EVENT: Final = MappingShape("a value from the event", _OF_THE_EVENT, is_single=True)
TO: Final = Either(
    (
        ADDRESS,
        Many("addresses", ADDRESS),
        MappingShape(
            "a recipient from the event, or a role",
            (
                *_OF_THE_EVENT,
                Key(
                    "role",
                    "All users with this role and a mail address.",
                    choice("admin", "analyst", "author", "viewer"),
                    examples=("analyst",),
                ),
            ),
            is_single=True,
        ),
    )
)
QUIET: Final = mapping_shape(
    """quiet hours without messages; messages from these hours are sent together at their end

    from: Start of the quiet hours.
        Example: 22:00
    to: End of the quiet hours, maybe on the next day.
        Example: 07:00
    zone: Time zone of these times; by default the project's.
        Example: Europe/Berlin
    """,
    from_=Required(TIME_OF_DAY),
    to=Required(TIME_OF_DAY),
    zone=ZONE,
)
LIMIT: Final = mapping_shape(
    """rate limit per recipient and rule

    count: Maximum number of mails in the time `per`.
        Example: 3
    per: The time for the limit. Messages above it are combined into one mail at its end; further questions to a
        customer are not sent.
        Example: 1h
    """,
    count=Required(WHOLE),
    per=Required(DURATION),
)
NOTICE: Final = MappingShape(
    "a notice",
    (
        Key(
            "on",
            "What triggers the notice: `flag` (a rule with `notify` hits), `decision`, `answer` (of a customer), "
            "`case` (a case opens), `sent` and `refused` (delivery results of another notice), `failure` (of the "
            "service), `spike` (a rule flags far more than usual), `traffic` (a merchant, country, amount or "
            "other value has far more events than in its week), or `report` (once a day).",
            choice(*ON),
            default="flag",
            examples=("decision",),
        ),
        Key("event", "The event type, whose fields `when`, `to` and `show` read.", NAME, examples=("payment",)),
        Key(
            "outcomes",
            "Only decisions with these outcomes.",
            Many("outcomes", choice(*OUTCOMES)),
            examples=("[decline, review]",),
        ),
        Key(
            "of",
            "Only messages of these notices. For `on: sent` and `on: refused`.",
            Many("notices", NAME),
            default="all notices by mail",
            examples=("[customer]",),
        ),
        Key("answers", "Only these answers.", Many("answers", choice("yes", "no")), examples=("[no]",)),
        Key(
            "when",
            "Only if this is true: an expression over the event and its features, without aggregates.",
            EXPRESSION,
            examples=("this.amount >= 50",),
        ),
        Key(
            "within",
            "Maximum age of an event by its event time; older events, such as those of imported files, cause no "
            "message.",
            DURATION,
            default="1d",
            examples=("2h",),
        ),
        Key(
            "to",
            "The recipients: one or several addresses, a field of the event, a look-up table, or the users with a "
            "role.",
            TO,
            examples=("{ field: email }", "fraud@bank.example"),
        ),
        Key("channel", "The channel of delivery.", choice(*CHANNELS), default="mail", examples=("webhook",)),
        Key("url", "The URL that a webhook calls.", HTTP, examples=("https://bank.example/hooks/fraud",)),
        Key(
            "secret",
            "Secret that signs webhook calls, an environment variable; for PagerDuty the integration key.",
            ANY,
            examples=("${HOOK_SECRET}",),
        ),
        Key(
            "format",
            "The body of a webhook call, for a chat or an on-call service.",
            choice(*FORMATS),
            default="shroff's own JSON",
            examples=("slack",),
        ),
        Key(
            "folder",
            "The lake folder for documents, one per event.",
            One("a folder: small letters, digits, _ and -", r"^[a-z][a-z0-9_-]{0,62}$"),
            examples=("fraud_confirmation",),
        ),
        Key(
            "file",
            "File name of a document, without `.json`; `{id}` is replaced by the event's id.",
            DOCUMENT_NAME,
            default=ALONE,
            examples=("'{id}_fraud_confirmation'",),
        ),
        Key(
            "document",
            "Content of a document or webhook call: names with expressions over the event.",
            own_names("names with expressions", EXPRESSION, pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,99}$"),
            examples=("{ transaction_id: this.payment_id, refund: this.amount }",),
        ),
        Key(
            "show",
            "What mails may show of the event: names with expressions. The built-in texts use `amount`, `merchant` "
            "and `card`; of a card, only the last four characters are shown.",
            own_names("names with expressions", EXPRESSION),
            default="the first money field as amount",
            examples=("{ amount: this.amount, merchant: this.merchant, card: this.card }",),
        ),
        Key(
            "ask",
            'true: the mail asks the recipient "Was this you?", with a link that can be answered once.',
            SWITCH,
            default="false",
            examples=("true",),
        ),
        Key("lasts", "How long the link is valid.", DURATION, default="1d", examples=("3d",)),
        Key("digest", "Combines messages to a recipient within this time into one mail.", DURATION, examples=("15m",)),
        Key("limit", "Rate limit per recipient.", LIMIT, examples=("{ count: 3, per: 1h }",)),
        Key(
            "quiet",
            "Quiet hours without messages.",
            QUIET,
            examples=("{ from: 22:00, to: 07:00, zone: Europe/Berlin }",),
        ),
        *(key for report in added_reports().values() for key in report.keys),
        Key(
            "every",
            "How often a report of decisions is sent: each day, of the day before, or each Monday, of the week before.",
            choice("day", "week"),
            default="day",
        ),
        Key("at", "Time of the report, in `zone`.", TIME_OF_DAY, default="07:00"),
        Key(
            "zone",
            "Time zone for days and times in texts: a zone, or a value from the event. By default it is the project's.",
            Either((ZONE, FROM_EVENT)),
            examples=("Europe/Berlin", "{ field: time_zone }"),
        ),
        Key(
            "language",
            f"The language of the texts: {' or '.join(LANGUAGES)}, or a value from the event.",
            Either((choice(*LANGUAGES), FROM_EVENT)),
            default="en",
            examples=("de", "{ field: language }"),
        ),
        Key(
            "texts",
            "The texts to use: NAME.txt.j2 and NAME.html.j2 beside this file; NAME.de.txt.j2 for one language.",
            NAME,
            default="texts with the notice's name, else the built-in ones",
            examples=("was_this_you",),
        ),
        Key(
            "times_usual",
            "A spike is at least this many times the rule's mean flags per hour of the last week.",
            WHOLE,
            default="5",
        ),
        Key(
            "least",
            "Minimum number of flags in an hour for a spike; of events in 15 minutes for traffic, where it is 5.",
            WHOLE,
            default="20",
        ),
        Key(
            "verbose",
            "true: also sent if there is nothing to report, so that silence means a problem. For digests.",
            SWITCH,
            default="false",
        ),
    ),
)
NOTICE_FILE: Final = ProjectFile(
    "notice", "notices/*.yaml", "Notifications: triggers, recipients, channels and texts.", NOTICE
)
