"""The demo's figures, on answers worked by hand, and its stream."""

from __future__ import annotations

from importlib.resources import files

import msgspec

from shroff.events.definitions import Settings
from shroff.events.intake import Intake
from shroff.examples.bank import START_MS, bank, labels
from shroff.examples.days import DAY_MS
from shroff.examples.demo import Fraud, Tally, Truth, stream
from shroff.log.writer import DECIDED, REFUSED, TAKEN, Answer
from shroff.project.policy import Policy
from tests.support.declare import declare

EFFECTS = {"burst": "decline", "large": "review", "never": "review"}


def fraud(amount_minor: int, kind: str = "mule") -> Fraud:
    return Fraud(kind, amount_minor, {})


def answer(id: str, outcome: str = "approve", rules: tuple[str, ...] = ()) -> Answer:
    document = b'{"id":"%s","rules":%s,"shadow_rules":[]}' % (id.encode(), msgspec.json.encode(rules))
    return Answer(DECIDED, "payment", id, 1, outcome, document)


def tally(*answers: Answer, **frauds: Fraud) -> Tally:
    made = Tally(Truth(dict(frauds)), EFFECTS)
    made.add(answers)
    return made


def test_a_fraud_is_caught_by_every_outcome_but_approve():
    made = tally(
        answer("p1", "decline", ("burst",)),
        answer("p2", "review", ("large",)),
        answer("p3", "challenge", ("large",)),
        answer("p4", "approve"),
        answer("p5", "approve"),
        p1=fraud(100),
        p2=fraud(20),
        p3=fraud(3),
        p4=fraud(4_000),
    )

    assert (made.frauds.caught.payments, made.frauds.caught.amount_minor) == (3, 123)
    assert (made.frauds.missed.payments, made.frauds.missed.amount_minor) == (1, 4_000)
    assert made.frauds.payments == 4
    assert made.by_outcome == {"decline": 1, "review": 1, "challenge": 1, "approve": 2}
    assert made.frauds_by_outcome == {"decline": 1, "review": 1, "challenge": 1, "approve": 1}


def test_kinds_add_up_to_all():
    made = tally(
        answer("p1", "decline", ("burst",)),
        answer("p2"),
        answer("p3"),
        p1=fraud(100, "mule"),
        p2=fraud(20, "mule"),
        p3=fraud(3, "stolen_card"),
    )

    assert {
        kind: (amounts.caught.amount_minor, amounts.missed.amount_minor) for kind, amounts in made.kinds.items()
    } == {"mule": (100, 20), "stolen_card": (0, 3)}


def test_precision_and_recall():
    # Stopped: p1 and p2, of which p1 is a fraud. Frauds: p1, p3, p4, p5.
    made = tally(
        answer("p1", "decline", ("burst", "large")),
        answer("p2", "review", ("large",)),
        answer("p3"),
        answer("p4"),
        answer("p5"),
        p1=fraud(300),
        p3=fraud(100),
        p4=fraud(100),
        p5=fraud(100),
    )

    assert (made.stopped, made.precision, made.recall, made.recall_of_money) == (2, 0.5, 0.25, 0.5)
    assert (made.rules["burst"].hits, made.rules["burst"].precision, made.recall_of("burst")) == (1, 1.0, 0.25)
    assert (made.rules["large"].hits, made.rules["large"].precision, made.recall_of("large")) == (2, 0.5, 0.25)
    assert (made.rules["never"].hits, made.rules["never"].precision, made.recall_of("never")) == (0, None, 0.0)


def test_what_rules_alone_come_to_is_counted_beside_what_was_decided():
    # By score alone: p2 and p6 to review, p3 declined. The rules decline p1 and p5 and review p4, whatever the score.
    made = tally(
        answer("p1", "decline", ("burst", "large")),
        answer("p2", "review"),
        answer("p3", "decline"),
        answer("p4", "decline", ("large",)),
        answer("p5", "decline", ("burst",)),
        answer("p6", "review"),
        answer("p7"),
        p1=fraud(300),
        p2=fraud(50),
        p4=fraud(20),
        p7=fraud(1),
    )
    policy = Policy(false_decline_minor=1_500, review_minor=400)

    assert made.all.by_outcome == {"approve": 1, "review": 2, "decline": 4}
    assert made.rules_alone.by_outcome == {"approve": 4, "review": 1, "decline": 2}
    assert (made.all.frauds.caught.amount_minor, made.rules_alone.frauds.caught.amount_minor) == (370, 320)
    assert (made.all.honest_declined, made.rules_alone.honest_declined) == (2, 1)
    assert (made.all.cost_minor(policy), made.rules_alone.cost_minor(policy)) == (2 * 400 + 2 * 1_500, 400 + 1_500)
    assert made.all.gained_minor(policy) == 370 - 3_800
    assert made.all.cost_minor(Policy()) == 0


def test_a_caught_fraud_that_the_rules_missed_is_shown_first():
    by_rules = answer("p1", "decline", ("burst", "large"))
    by_score, honest = answer("p2", "review"), answer("p3", "review")
    frauds = {"p1": fraud(9_999), "p2": fraud(1)}

    assert shown(tally(by_rules, by_score, honest, **frauds)) == "p2"
    assert shown(tally(by_rules, honest, **frauds)) == "p1"
    assert shown(tally(honest)) == "p3"


def test_a_stream_that_ends_at_once_has_no_label_from_after_its_last_payment():
    text = (files("shroff") / "templates" / "payments" / "events.yaml").read_text(encoding="utf-8")
    intake, start_ms = Intake(declare(text), Settings(), None), START_MS - 63 * DAY_MS
    found = list(stream(intake, 2_000, 1, Truth(), start_ms, ends_at_once=True))
    payments = [item.event for item in found if item.event]
    known_at_ms = [item.label.known_at_ms for item in found if item.label]

    assert found[-1].event is not None
    assert len(payments) == 2_000
    assert 0 < len(known_at_ms) < len(list(labels(bank(2_000, 1), 1)))
    assert known_at_ms == sorted(known_at_ms)
    assert max(known_at_ms) <= payments[-1].time_ms < START_MS
    assert min(payment.time_ms for payment in payments) >= start_ms


def test_a_share_of_nothing_is_none():
    made = tally(answer("p1"))

    assert (made.precision, made.recall, made.recall_of_money, made.recall_of("burst")) == (None, None, None, None)


def test_a_hit_that_leaves_the_payment_approved_is_a_hit_and_no_catch():
    made = tally(answer("p1", "approve", ("large",)), p1=fraud(100))

    assert (made.rules["large"].hits, made.rules["large"].frauds) == (1, 1)
    assert (made.frauds.caught.payments, made.frauds.missed.payments) == (0, 1)


def test_only_decided_payments_are_counted():
    label = Answer(TAKEN, "label", "p1/import", 2, is_label=True)
    refused = Answer(REFUSED, "payment", "p2", reason="too late")
    made = tally(answer("p1"), label, refused)

    assert made.decisions == sum(made.by_outcome.values()) == 1


def test_the_example_is_the_caught_fraud_with_the_most_reasons_then_the_greatest_amount():
    honest = answer("p0", "decline", ("burst", "large", "never"))
    missed = answer("p1", "approve", ("burst", "large", "never"))
    one_reason = answer("p2", "decline", ("burst",))
    small, great = answer("p3", "decline", ("burst", "large")), answer("p4", "decline", ("burst", "large"))
    frauds = {"p1": fraud(9_999), "p2": fraud(9_999), "p3": fraud(1), "p4": fraud(2)}

    assert shown(tally(answer("p9"))) is None
    assert shown(tally(honest, missed)) == "p0"
    assert shown(tally(honest, missed, one_reason, **frauds)) == "p2"
    assert shown(tally(great, honest, small, one_reason, missed, **frauds)) == "p4"


def shown(made: Tally) -> str | None:
    return msgspec.json.decode(made.example.document)["id"] if made.example else None


def test_the_stream_is_the_bank_with_its_labels_and_tells_the_frauds_to_the_truth():
    text = (files("shroff") / "templates" / "payments" / "events.yaml").read_text(encoding="utf-8")
    truth = Truth()
    submissions = list(stream(Intake(declare(text), Settings(), None), 2_000, 1, truth))
    payments = list(bank(2_000, 1))

    assert [submission.refusal for submission in submissions if submission.refusal] == []
    assert [submission.event.id for submission in submissions if submission.event] == [
        payment.event["payment_id"] for payment in payments
    ]
    assert sum(submission.label is not None for submission in submissions) == len(list(labels(payments, 1)))
    assert {id: fraud.kind for id, fraud in truth.frauds.items()} == {
        payment.event["payment_id"]: payment.fraud for payment in payments if payment.fraud
    }
    assert all(item.amount_minor / 100 == float(item.event["amount"]) for item in truth.frauds.values())
