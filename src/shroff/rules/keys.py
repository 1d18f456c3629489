"""The keys of a rule file with their meanings (see `language.keys`)."""

from __future__ import annotations

from shroff.language.keys import (
    ANY,
    EXPRESSION,
    MAYBE,
    NAME,
    NAME_PATTERN,
    PERCENT,
    SWITCH,
    Many,
    MappingShape,
    One,
    Required,
    choice,
    mapping_shape,
    own_names,
)

EFFECTS = ("decline", "challenge", "review", "allow", "note")
EXPERIMENT = "experiment"  # effect of the rules that experiments in policy.yaml make
TOLD = ("analysts", "customer")  # recipients of a hit that need no notice

_TEST_EVENT = MappingShape(
    "one event type with its fields; `at` stands for the time field, and ids may be left out",
    named=own_names("fields with their values", MAYBE),
    pattern=NAME_PATTERN,
    is_single=True,
)


class _Test:
    """A test.

    name: The test's description, for people.
        Example: two quick round trips
    events: The events, in log order.
        Example: [{ payment: { card: c1, at: 2026-03-01T10:00:00Z, amount: 1.00 } }]
    hits: For each event of the rule's type, whether the rule hits; for a table, the row that hits, or false.
        Example: [false, true]
    """

    name = Required(ANY)
    events = Required(Many("events", _TEST_EVENT))
    hits = Required(Many("true, false or a row, each", ANY))


TEST = mapping_shape(_Test)


_LIMIT = r"(false_positive_rate > \d{1,2}(\.\d+)?%|loss > \d+(\.\d+)?)"
GUARD = One("a guard such as `stop when loss > 5000`", rf"^stop when {_LIMIT}( or {_LIMIT})?$")


class _Rule:
    r"""A rule.

    id: The rule's id and reason code. It must be unique; never reuse it for a different condition.
        Example: card_testing
    on: The event type that the rule checks.
        Example: payment
    by: The entity to flag. Aggregates in `when` use its key, and `since flag` refers to its events.
        Example: card
    when: The condition; required, unless the rule has a table. If its value is missing, the rule does not hit.
        Example: card.payments_10m >= 5 and card.largest_10m <= 2.50
    reason: The reason shown to readers; an expression in braces is replaced by its value.
        Default: the id, in words
        Example: "{card.payments_10m} payments in 10 minutes, none above {card.largest_10m}"
    effect: The effect of a hit; required, unless the rows of a table have their own. Decline has priority over review,
        and review over challenge. `allow` cancels review and challenge, but never a rule's decline; `note` is only
        recorded.
        Example: review
    notify: Who is notified of a hit: analysts, customer, or the name of a notice.
        Example: analysts
        Example: customer
    shadow: true: evaluated and recorded, without effect.
        Default: false
        Example: true
    expires: The last day of the rule, by event time in UTC.
        Example: 2027-12-31
    rollout: The share of keys for which the rule is active, chosen by a hash of the key; for other keys it is in
        shadow.
        Default: 100%
        Example: 10%
    guard: Limits that stop a rollout: above one, the rule goes into shadow. The false positive rate of a rollout is
        the share of its hits that are no fraud; the loss is what the rule costs by `costs` of policy.yaml.
        Example: stop when false_positive_rate > 90% or loss > 5000
    table: A decision table: a line of columns and below it its rows, with bars between the cells. The first row whose
        cells are all true hits, as the rule `id.row`. A column is an operand, or one of row, effect, reason, notify,
        shadow, expires and rollout.
        Example: "this.amount | effect\n> 1_000 | review"
    scorecard: Points and conditions: the points of all that are true add up.
        Example: "points | when\n20 | this.amount > 1_000"
    bands: A table whose column `points` is the sum of the scorecard.
        Example: "points | effect\n>= 20 | review"
    tests: Tests of the rule, run by `shroff check`.
    """

    id = Required(One("a name", "^[a-z][a-z0-9_]{0,199}$"))
    on = Required(NAME)
    by = Required(NAME)
    when = EXPRESSION
    reason = ANY
    effect = choice(*EFFECTS)
    notify = ANY
    shadow = SWITCH
    expires = One("a day such as 2027-12-31", r"^\d{4}-\d{1,2}-\d{1,2}$")
    rollout = PERCENT
    guard = GUARD
    table = ANY
    scorecard = ANY
    bands = ANY
    tests = Many("tests", TEST)


RULE = mapping_shape(_Rule)
RULES = Many("rules", RULE)
