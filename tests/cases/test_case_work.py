"""What goes with a case: tags, the checklist of its kind, and macros that do several things in one step."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest

from shroff.cases import case_actions, case_queries, dispositions, filters
from shroff.cases.case import CLAIMED, CLOSED, ESCALATED, OPEN, SNOOZED, CaseFilter
from shroff.cases.case_service import CaseChangedError
from shroff.cases.timers import carry_out
from shroff.engine.exploration import SAMPLED
from shroff.errors import DefinitionError, UsageError
from shroff.language.values import DAY_MS
from shroff.log.flags import FeedLabel
from shroff.services.cases.documents import CaseWhole, case_of
from shroff.services.cases.operations import ShowCases
from tests.support.cased import ANN, BEN, NoticeServices, alert, services
from tests.support.log_rows import NOW_MS
from tests.support.telling import FILES, Bank, payment

CHECKS = {"card": {"called": {"text": "Customer called", "required": "true"}, "map": {"text": "Place looked at"}}}
MACROS = {
    "stolen": {"verdict": "fraud", "note": "Reported stolen.", "tags": ("stolen",)},
    "wait": {"snooze": "1d", "tags": ("asked",)},
    "hard": {"escalate": "A ring?"},
    "mark": {"tags": ("mule",)},
}


def found(at: NoticeServices, **query: str) -> list[int]:
    wanted = filters.wanted_of(query, ANN, at.desk)
    return [case.number for case in case_queries.listed(at.desk, ANN, wanted).cases]


@pytest.mark.parametrize(
    ("state", "hint"),
    [(OPEN, "shroff cases decide 3 fraud"), (ESCALATED, "shroff cases decide 3 fraud"), (CLOSED, "shroff cases list")],
)
def test_only_a_case_that_is_not_closed_is_offered_for_a_decision(state, hint):
    assert CaseWhole.hints(cast("CaseWhole", SimpleNamespace(id=3, state=state))) == [hint]


def test_a_case_is_found_and_counted_by_its_tags(tmp_path):
    with services(tmp_path) as at:
        at.raised(alert(1, "a"), alert(2, "b"), alert(3, "c"))
        case_actions.tag(at.desk, ANN, 1, "Stolen, mule stolen")
        seen = case_actions.tag(at.desk, BEN, 2, "stolen_goods")
        dispositions.decide(at.desk, ANN, 1, "fraud")

        assert (found(at, tag="stolen"), found(at, tag="stolen", state="all"), found(at, tag="stolen_goods")) == (
            [],
            [1],
            [2],
        )
        with at.desk.store.look() as look:
            assert look.tagged() == {("stolen_goods", ""): 1}
            assert look.tagged(NOW_MS) == {("stolen", "fraud"): 1, ("mule", "fraud"): 1}
            assert look.tagged(NOW_MS + 1) == {}
        assert case_actions.tag(at.desk, ANN, 1, "").tags == ""  # a closed case takes tags, too
        case_actions.tag(at.desk, ANN, 2, "other", seen.tag)
        with pytest.raises(CaseChangedError, match="Ann changed case 2"):
            case_actions.tag(at.desk, BEN, 2, "mine", seen.tag)
        for wrong in ("a/b", "x" * 41, " ".join(map(str, range(21)))):
            with pytest.raises(UsageError, match=r"is not a tag|at most 20"):
                case_actions.tag(at.desk, ANN, 2, wrong)
        assert at.acts().count("case.tag") == 4


def test_a_case_closes_once_what_its_checklist_requires_is_ticked(tmp_path):
    with services(tmp_path, checklists=CHECKS) as at:
        at.raised(alert(1), alert(2, entity="device"))
        with pytest.raises(UsageError, match="tick called first: shroff cases check 1 called"):
            dispositions.decide(at.desk, ANN, 1, "fraud")
        done, failed = dispositions.bulk(at.desk, ANN, {1: "", 2: ""}, "decide", verdict="genuine")

        assert [failure.case for failure in failed] == [1]
        assert done is not None
        assert [case.number for case in done.cases] == [2]
        with pytest.raises(UsageError, match=r"'cal' is not on the checklist of case 1. Did you mean called\?"):
            case_actions.check(at.desk, ANN, 1, "cal")
        case_actions.check(at.desk, ANN, 1, "called")
        case_actions.check(at.desk, BEN, 1, "map")
        assert case_actions.check(at.desk, BEN, 1, "map", is_open=True).checks == " called "
        assert dispositions.decide(at.desk, ANN, 1, "fraud").cases[0].state == CLOSED
    with services(tmp_path, checklists=CHECKS) as at:  # nothing of it was in memory alone
        assert at.case().checks == " called "
        assert [(row.what, row.words) for row in case_queries.detail(at.desk, ANN, 1).history][:3] == [
            ("checked", "Customer called"),
            ("checked", "Place looked at"),
            ("unchecked", "Place looked at"),
        ]


def test_a_case_has_the_checklists_of_its_entity_its_queue_and_its_rule(tmp_path):
    more = {"rings": {"mapped": {"text": "Ring drawn"}}, "large": {"map": {"text": "Shop asked", "required": "true"}}}
    with services(tmp_path, checklists={**CHECKS, **more, "default": {"any": {"text": "Seen"}}}) as at:
        at.raised(alert(1, rule="large"), alert(2, "b", entity="device", rule="other", queue="rings"))

        def items(number: int) -> list[tuple[str, str]]:
            return [(check.item, check.text) for check in case_of(at.desk, at.case(number)).checks]

        assert items(1) == [("called", "Customer called"), ("map", "Shop asked"), ("any", "Seen")]
        assert items(2) == [("mapped", "Ring drawn")]
        case_actions.check(at.desk, ANN, 1, "called")
        with pytest.raises(UsageError, match="tick map first"):
            dispositions.decide(at.desk, ANN, 1, "fraud")


def test_a_macro_does_all_of_it_or_nothing_and_is_undone_whole(tmp_path):
    with services(tmp_path, checklists=CHECKS, macros=MACROS) as at:
        at.raised(alert(1), alert(2, "b", entity="device"), alert(3, "c", entity="device"))
        with pytest.raises(UsageError, match="tick called first"):
            dispositions.run_macro(at.desk, ANN, 1, "stolen")
        assert (at.case().tags, case_queries.detail(at.desk, ANN, 1).history) == ("", [])
        done = dispositions.run_macro(at.desk, ANN, 2, "stolen")
        assert (done.cases[0].verdict, done.cases[0].tags) == ("fraud", " stolen ")
        dispositions.undo(at.desk, ANN, done.undo)
        assert (at.case(2).state, at.case(2).tags) == (OPEN, "")
        dispositions.run_macro(at.desk, ANN, 2, "stolen")
        at.now_ms = done.until_ms
        carry_out(at.desk)

        assert [label[:2] for label in at.labels()] == [("payment/p-2", "fraud")]
        assert [row.what for row in case_queries.detail(at.desk, ANN, 2).history][-3:] == ["macro", "note", "decided"]
        assert dispositions.run_macro(at.desk, ANN, 3, "mark").cases[0].tags == " mule "
        assert dispositions.run_macro(at.desk, ANN, 3, "hard").cases[0].state == ESCALATED
        waiting = dispositions.run_macro(at.desk, ANN, 3, "wait").cases[0]
        assert (waiting.state, waiting.tags, waiting.snoozed_ms) == (SNOOZED, " mule asked ", at.now_ms + 86_400_000)
        with pytest.raises(UsageError, match=r"there is no macro 'stole'.*Did you mean stolen\?"):
            dispositions.run_macro(at.desk, ANN, 1, "stole")
        assert at.acts().count("case.macro") == 5


TEAMS = {"senior": ("Ann",), "french": ("Ann", "Ben")}
QUEUES = {
    "large": {"when": "this.amount > 1000", "teams": ("senior", "french"), "due": "1h"},
    "closed": {"rules": ("ring",), "teams": ("senior",), "only": "true"},
    "both": {"when": "score > 0.9"},
}


def test_a_case_is_claimed_first_by_the_people_of_its_queue(tmp_path):
    with services(tmp_path, queues=QUEUES, teams=TEAMS) as at:
        at.raised(
            alert(1, "a", queue="large"), alert(2, "b", queue="closed"), alert(3, "c"), alert(4, "c", queue="large")
        )
        assert [case.queue for case in at.cases()] == ["large", "closed", ""]  # the first alert says it
        seen = {name: found(at, queue=name) for name in ("large", "default", "mine")}
        assert seen == {"large": [1], "default": [3], "mine": [1, 2, 3]}
        assert [
            case.number
            for case in case_queries.listed(at.desk, BEN, filters.wanted_of({"queue": "mine"}, BEN, at.desk)).cases
        ] == [3]
        names = [counted.view.name for counted in case_queries.views(at.desk, BEN) if "queue=" in counted.view.query]
        assert names == ["My queues", "Large", "Closed", "Both", "Default"]

        claimed = [case_actions.claim_next(at.desk, BEN) for _ in range(3)]
        assert [case and case.number for case in claimed] == [3, 1, None]  # his own, then others', never closed ones
        with pytest.raises(UsageError, match="case 2 is in the queue closed, which only its teams answer"):
            dispositions.decide(at.desk, BEN, 2, "fraud")
        for act, given in ((case_actions.move, "default"), (case_actions.assign, "ben"), (case_actions.reopen, "why")):
            with pytest.raises(UsageError, match="only its teams"):
                act(at.desk, BEN, 2, given)
        case_actions.assign(at.desk, ANN, 2, "ben")
        assert case_actions.claim_next(at.desk, BEN, CaseFilter(queues=("closed",))).number == 2
        case_actions.release(at.desk, BEN, 2)

        moved = case_actions.move(at.desk, ANN, 2, "both")
        assert (moved.queue, case_actions.claim_next(at.desk, BEN).number) == ("both", 2)
        case_actions.move(at.desk, BEN, 2, "default")
        at.raised(alert(5, "b", queue="large"))
        assert at.case(2).queue == ""  # nothing but a person moves it
        with pytest.raises(UsageError, match=r"no queue 'larg'\. Did you mean large\?"):
            case_actions.move(at.desk, ANN, 1, "larg")
        assert [
            (row.what, row.words) for row in case_queries.detail(at.desk, ANN, 2).history if row.what == "moved"
        ] == [("moved", "both"), ("moved", "default")]
        assert at.acts().count("case.move") == 2


RULES = """
- { id: large, on: payment, by: card, when: this.amount > 100, effect: review }
- { id: ring, on: payment, by: card, when: this.merchant == 'Ring', effect: note }
"""
ROUTES = """
  queues:
    rings: { rules: [ring], due: 10m }
    huge: { when: this.amount > 1000 and score is missing }
    never: { when: this.zone == 'x', rules: [ring] }
"""


def test_a_label_of_another_analyst_leaves_a_case_to_whoever_has_it(tmp_path):
    with services(tmp_path, queues=QUEUES, teams=TEAMS) as at:
        at.raised(alert(1, "a", queue="closed"), alert(2, "b"), alert(3, "c"), alert(4, "d", queue="large"))
        case_actions.claim(at.desk, BEN, 2)
        at.heard(labels=[FeedLabel("fraud", "analyst", NOW_MS + 1, 4 + of, f"payment/p-{of}") for of in (1, 2, 3, 4)])

        assert [case.state for case in at.cases()] == [OPEN, CLAIMED, CLOSED, CLOSED]
        assert [(of.label, of.verdict) for number in (1, 2) for of in at.alerts(number)] == [("fraud", "")] * 2
        done = dispositions.decide(at.desk, BEN, 2, "genuine")
        case = dispositions.undo(at.desk, BEN, done.undo).restored[0]
        assert (case.state, case.assignee) == (CLAIMED, BEN.id)
        at.heard(labels=[FeedLabel("fraud", "chargeback", NOW_MS + 1, 8 + of, f"payment/p-{of}") for of in (1, 2)])
        assert [case.state for case in at.cases()] == [CLOSED] * 4, "a stronger source closes them all the same"


def test_a_case_goes_to_the_first_queue_that_takes_its_event(tmp_path):
    settings = FILES["shroff.yaml"] + "cases:" + ROUTES
    bank = Bank(
        tmp_path,
        {"shroff.yaml": settings, "rules/large.yaml": RULES, "policy.yaml": None, "notices/customer.yaml": None},
    )
    given = [("a", "2000.00", "Ring"), ("b", "2000.00", "Shop"), ("c", "200.00", "Shop"), ("d", "200.00", "Ring")]
    bank.pay(*(payment(card, amount, card=card, merchant=merchant) for card, amount, merchant in given))

    with bank.project.cases.open() as desk, desk.store.look() as look:
        cases = {case.key: case for case in look.queue(CaseFilter())}
    assert {key: case.queue for key, case in cases.items()} == {"a": "rings", "b": "huge", "c": "", "d": "rings"}
    assert [case.due_ms - case.opened_ms for case in cases.values()] == [600_000, 600_000, DAY_MS, DAY_MS]
    shown = bank.project.run(ShowCases(queue="rings"))
    assert [(case.key, case.queue) for case in shown.cases] == [("a", "rings"), ("d", "rings")]

    for wrong, words in (
        ({"queue": "ring"}, r"queue: no queue is called 'ring'. Did you mean rings\?"),
        ({"rule": "larg"}, r"rule: no rule is called 'larg'. Did you mean large\?"),
        ({"filter": "entity=crad"}, r"entity: no entity is called 'crad'. Did you mean card\?"),
    ):
        with pytest.raises(UsageError, match=words):
            bank.project.run(ShowCases(**wrong))
    for empty in ({"queue": "mine", "key": "x"}, {"queue": "default", "key": "x"}, {"rule": SAMPLED}):
        assert bank.project.run(ShowCases(**empty)).cases == []
    wrong = "cases:\n  checklists: { crad: {} }\n"
    wrong += "  queues: { a: { when: this.amoun > 1 }, b: { rules: [rin] }, c: { teams: [t] } }\n"
    bank.write({"shroff.yaml": FILES["shroff.yaml"] + wrong})
    with pytest.raises(DefinitionError) as raised:
        bank.pay()
    told = str(raised.value)
    assert "queue a: " in told
    assert "names 'rin', which is not a rule" in told
    assert "names 't', which is none of teams" in told
    assert "'crad' has a checklist and is not an entity, queue or rule. Did you mean card?" in told
