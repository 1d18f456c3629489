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
    Keys,
    Many,
    One,
    choice,
    own_names,
)
from shroff.notices.texts.words import LANGUAGES
from shroff.project.figures import FIGURES
from shroff.project.schema import ProjectFile
from shroff.streams.settings import ALONE, DOCUMENT_NAME, HTTP

ON: Final = ("flag", "decision", "answer", "case", "sent", "refused", "failure", "spike", "report")
CHANNELS: Final = ("mail", "webhook", "lake")
OUTCOMES: Final = ("approve", "challenge", "review", "decline")
ADDRESS: Final = One("an address of mail", r"^[^\s@,;<>\"()]+@[^\s@,;<>\"()]+$")
TIME_OF_DAY: Final = One("a time of day such as 07:30", r"^([01]\d|2[0-3]):[0-5]\d$")
ZONE: Final = One("a time zone such as Europe/Berlin", r"^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*$")
_OF_THE_EVENT: Final = (
    Key("field", "A field of the event, which may be personal.", NAME, examples=("email",)),
    Key(
        "look_up",
        "An expression of the event, such as a column of a look-up table.",
        EXPRESSION,
        examples=("tables.contacts[this.card].email",),
    ),
)
FROM_EVENT: Final = Keys("what the event says", _OF_THE_EVENT, is_single=True)
TO: Final = Either(
    (
        ADDRESS,
        Many("addresses", ADDRESS),
        Keys(
            "whoever the event, or a role, says",
            (
                *_OF_THE_EVENT,
                Key(
                    "role",
                    "All users of this role that have an address of mail.",
                    choice("admin", "analyst", "author", "viewer"),
                    examples=("analyst",),
                ),
            ),
            is_single=True,
        ),
    )
)
QUIET: Final = Keys(
    "hours in which nothing is told; what comes meanwhile is told at their end, together",
    (
        Key("from", "When they begin.", TIME_OF_DAY, is_required=True, examples=("22:00",)),
        Key("to", "When they end, perhaps on the next day.", TIME_OF_DAY, is_required=True, examples=("07:00",)),
        Key("zone", "Whose clock that is.", ZONE, default="UTC", examples=("Europe/Berlin",)),
    ),
)
LIMIT: Final = Keys(
    "how much one recipient is told of one rule",
    (
        Key("count", "So many mails,", WHOLE, is_required=True, examples=("3",)),
        Key(
            "per",
            "within so long. What comes beyond is gathered into one mail at the end of that time; further questions "
            "to a customer are not asked.",
            DURATION,
            is_required=True,
            examples=("1h",),
        ),
    ),
)
NOTICE: Final = Keys(
    "a notice",
    (
        Key(
            "on",
            "What the notice is about: `flag` (rules that `notify` it), `decision`, `answer` (of a customer), `case` "
            "(one opens), `sent` and `refused` (what became of a message of another notice), `failure` (of the "
            "service), `spike` (a rule flags far more than usual), or `report` (once a day).",
            choice(*ON),
            default="flag",
            examples=("decision",),
        ),
        Key(
            "event",
            "The event type that it is about, whose fields `when`, `to` and `show` read.",
            NAME,
            examples=("payment",),
        ),
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
            "Only where this is true: an expression of the event and its features, without aggregates.",
            EXPRESSION,
            examples=("this.amount >= 50",),
        ),
        Key(
            "within",
            "An event that is older than this, by its own time, is not told: what is taken in from old files is no "
            "news.",
            DURATION,
            default="1d",
            examples=("2h",),
        ),
        Key(
            "to",
            "Who is told: an address, several, a field of the event, a look-up table, or the users of a role.",
            TO,
            examples=("{ field: email }", "fraud@bank.example"),
        ),
        Key("channel", "How.", choice(*CHANNELS), default="mail", examples=("webhook",)),
        Key("url", "The address that a webhook calls.", HTTP, examples=("https://bank.example/hooks/fraud",)),
        Key(
            "secret",
            "What calls are signed with, as a variable of the environment.",
            ANY,
            examples=("${HOOK_SECRET}",),
        ),
        Key(
            "folder",
            "The folder of the lake into which documents go, one for each event.",
            One("a folder: small letters, digits, _ and -", r"^[a-z][a-z0-9_-]{0,62}$"),
            examples=("fraud_confirmation",),
        ),
        Key(
            "file",
            "What a document is called in its folder, without `.json`: `{id}` stands for the id of its event.",
            DOCUMENT_NAME,
            default=ALONE,
            examples=("'{id}_fraud_confirmation'",),
        ),
        Key(
            "document",
            "What a document or a call holds: names with expressions of the event.",
            own_names("names with expressions", EXPRESSION, pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,99}$"),
            examples=("{ transaction_id: this.payment_id, refund: this.amount }",),
        ),
        Key(
            "show",
            "What of the event a text may show: names with expressions. `amount`, `merchant` and `card` have their "
            "places in the texts that come with shroff; of a card the last four characters are shown.",
            own_names("names with expressions", EXPRESSION),
            default="the first money field as amount",
            examples=("{ amount: this.amount, merchant: this.merchant, card: this.card }",),
        ),
        Key(
            "ask",
            "true: the mail asks whether it was the recipient, with a link to answer by, once.",
            SWITCH,
            default="false",
            examples=("true",),
        ),
        Key("lasts", "For how long the link answers.", DURATION, default="1d", examples=("3d",)),
        Key(
            "digest",
            "What comes within this time goes to a recipient as one mail.",
            DURATION,
            examples=("15m",),
        ),
        Key("limit", "The most that one recipient is told.", LIMIT, examples=("{ count: 3, per: 1h }",)),
        Key("quiet", "When nothing is told.", QUIET, examples=("{ from: 22:00, to: 07:00, zone: Europe/Berlin }",)),
        Key(
            "figures",
            "What a report counts, in place of decisions: figures by name, in the order of the mail.",
            FIGURES,
            examples=("{ savers: { distinct: user, event: saving } }",),
        ),
        Key(
            "funnels",
            "Of these funnels of funnels.yaml a report shows the drop-off of each step, beside the mean of the three "
            "days before.",
            Many("funnels", NAME),
            examples=("[onboarding]",),
        ),
        Key("at", "When a report is made, by the clock of `zone`.", TIME_OF_DAY, default="07:00"),
        Key(
            "zone",
            "Whose clock times are shown by: a zone, or where the event says it.",
            Either((ZONE, FROM_EVENT)),
            default="UTC",
            examples=("Europe/Berlin", "{ field: time_zone }"),
        ),
        Key(
            "language",
            f"The language of the texts, {' or '.join(LANGUAGES)}, or where the event says it.",
            Either((choice(*LANGUAGES), FROM_EVENT)),
            default="en",
            examples=("de", "{ field: language }"),
        ),
        Key(
            "texts",
            "Which texts: NAME.txt.j2 and NAME.html.j2 beside this file, NAME.de.txt.j2 for one language.",
            NAME,
            default="those called as the notice, else those that come with shroff",
            examples=("was_this_you",),
        ),
        Key(
            "times_usual",
            "How many times as many flags in an hour as in the same rule's mean hour of the last week are a spike.",
            WHOLE,
            default="5",
        ),
        Key("least", "Fewer flags in an hour than this are no spike.", WHOLE, default="20"),
        Key(
            "verbose",
            "true: also told where there was nothing to tell, so that silence is no news either. For digests.",
            SWITCH,
            default="false",
        ),
    ),
)
NOTICE_FILE: Final = ProjectFile("notice", "notices/*.yaml", "Who is told what, when and how.", NOTICE)
