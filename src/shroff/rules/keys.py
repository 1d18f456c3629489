"""The keys of a rule file with their meanings (see `language.keys`)."""

from __future__ import annotations

from typing import Final

from shroff.language.keys import (
    ANY,
    EXPRESSION,
    MAYBE,
    NAME,
    NAME_PATTERN,
    PERCENT,
    SWITCH,
    Key,
    Many,
    MappingShape,
    One,
    choice,
    own_names,
)

EFFECTS: Final = ("decline", "challenge", "review", "allow", "note")
EXPERIMENT: Final = "experiment"  # the effect of a rule that policy.yaml makes
TOLD: Final = ("analysts", "customer")  # whom a rule may tell without a notice of its own

_TEST_EVENT: Final = MappingShape(
    "one event type with its fields; `at` stands for the time field, and ids may be left out",
    named=own_names("fields with their values", MAYBE),
    pattern=NAME_PATTERN,
    is_single=True,
)
TEST: Final = MappingShape(
    "a test",
    (
        Key("name", "The test's description, for people.", ANY, is_required=True, examples=("two quick round trips",)),
        Key(
            "events",
            "The events, in log order.",
            Many("events", _TEST_EVENT),
            is_required=True,
            examples=("[{ payment: { card: c1, at: 2026-03-01T10:00:00Z, amount: 1.00 } }]",),
        ),
        Key(
            "hits",
            "For each event of the rule's type, whether the rule hits; for a table, the row that hits, or false.",
            Many("true, false or a row, each", ANY),
            is_required=True,
            examples=("[false, true]",),
        ),
    ),
)
RULE: Final = MappingShape(
    "a rule",
    (
        Key(
            "id",
            "The rule's id and reason code. It must be unique; never reuse it for a different condition.",
            One("a name", "^[a-z][a-z0-9_]{0,199}$"),
            is_required=True,
            examples=("card_testing",),
        ),
        Key("on", "The event type that the rule checks.", NAME, is_required=True, examples=("payment",)),
        Key(
            "by",
            "The entity to flag. Aggregates in `when` use its key, and `since flag` refers to its events.",
            NAME,
            is_required=True,
            examples=("card",),
        ),
        Key(
            "when",
            "The condition; required, unless the rule has a table. If its value is missing, the rule does not hit.",
            EXPRESSION,
            examples=("card.payments_10m >= 5 and card.largest_10m <= 2.50",),
        ),
        Key(
            "reason",
            "The reason shown to readers; an expression in braces is replaced by its value.",
            ANY,
            default="the id, in words",
            examples=('"{card.payments_10m} payments in 10 minutes, none above {card.largest_10m}"',),
        ),
        Key(
            "effect",
            "The effect of a hit; required, unless the rows of a table have their own. Decline has priority over "
            "review, and review over challenge. `allow` cancels review and challenge, but never a rule's decline; "
            "`note` is only recorded.",
            choice(*EFFECTS),
            examples=("review",),
        ),
        Key("notify", "Who is notified of a hit: analysts, customer, or the name of a notice.", ANY, examples=TOLD),
        Key(
            "shadow",
            "true: evaluated and recorded, without effect.",
            SWITCH,
            default="false",
            examples=("true",),
        ),
        Key(
            "expires",
            "The last day of the rule, by event time in UTC.",
            One("a day such as 2027-12-31", r"^\d{4}-\d{1,2}-\d{1,2}$"),
            examples=("2027-12-31",),
        ),
        Key(
            "rollout",
            "The share of keys for which the rule is active, chosen by a hash of the key; for other keys it is in "
            "shadow.",
            PERCENT,
            default="100%",
            examples=("10%",),
        ),
        Key(
            "table",
            "A decision table: a line of columns and below it its rows, with bars between the cells. The first row "
            "whose cells are all true hits, as the rule `id.row`. A column is an operand, or one of row, effect, "
            "reason, notify, shadow, expires and rollout.",
            ANY,
            examples=('"this.amount | effect\\n> 1_000 | review"',),
        ),
        Key(
            "scorecard",
            "Points and conditions: the points of all that are true add up.",
            ANY,
            examples=('"points | when\\n20 | this.amount > 1_000"',),
        ),
        Key(
            "bands",
            "A table whose column `points` is the sum of the scorecard.",
            ANY,
            examples=('"points | effect\\n>= 20 | review"',),
        ),
        Key("tests", "Tests of the rule, run by `shroff check`.", Many("tests", TEST)),
    ),
)
RULES: Final = Many("rules", RULE)
