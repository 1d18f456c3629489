"""`shroff links`, `shroff rings build`: shared values, hubs, verdicts, and rings as a table that rules read."""

from __future__ import annotations

from collections.abc import Collection

import pytest

from shroff.cases import case_actions
from shroff.errors import RefusalError, UsageError
from shroff.explain import links
from shroff.explain.links import VALUES_MAX, LinkedEvents, LinkScope, Neighbourhood, newest_events, newest_links
from shroff.language.values import DAY_MS
from shroff.runtime.values import Fresh
from shroff.services import project as app
from shroff.services.apply.deployment import ApplyFiles
from shroff.services.lake.operations import WriteLake
from shroff.services.links.operations import BuildRings, ShowLinks
from shroff.streams.log import Log
from shroff.web.work.helper_processes import CaseKeeper
from tests.support.patience import until
from tests.support.projects import FILES, write_files
from tests.support.served import ME

LINKED = FILES | {
    "events.yaml": FILES["events.yaml"].replace("card: text?", "card: text?, device: text?"),
    "features.yaml": "card:\n"
    "  linked: distinct(payment.card via payment.device up to 3) over 30d including this\n"
    "  near: count(label via payment.device up to 3 where label.verdict == 'fraud') over 60d\n",
}
HOUR = "2026-03-01T{:02}:00:00Z"


def payment(number: int, card: str | None, device: str | None, hour: int = 10) -> dict[str, object]:
    fields = {"id": f"p{number}", "at": HOUR.format(hour), "card": card, "device": device, "amount": f"{number}.00"}
    return {"payment": {name: value for name, value in fields.items() if value is not None}}


def label(number: int, verdict: str, hour: int) -> dict[str, object]:
    event = {"event": f"payment/p{number}", "verdict": verdict, "source": "analyst", "known_at": HOUR.format(hour)}
    return {"label": event}


def state_of(desk, number: int) -> str:
    with desk.store.look() as look:
        return look.cases([number])[number].state


def opened(folder, files=LINKED):
    project = app.open(write_files(folder, files))
    project.decide(
        [
            *(
                payment(1, "a", "d"),
                payment(2, "b", "d"),
                payment(3, None, "d"),
                payment(4, "b", "e"),
                payment(5, "c", "e"),
            ),
            *(payment(6 + at, card, "hub") for at, card in enumerate("axyz")),
            *(label(2, "fraud", 11), label(4, "fraud", 11), label(4, "genuine", 12)),
            *(payment(20, "late", "d", 13), payment(21, "alone", "f", 13)),
        ]
    )
    return project


def test_links_are_what_was_shared_and_known_at_a_moment(tmp_path):
    project = opened(tmp_path)
    now, then = (project.run(ShowLinks(entity="card", key="a", as_of=at)) for at in (None, HOUR.format(10)))
    of_b = project.run(ShowLinks(entity="card", key="b"))

    assert [(link.via, link.value, link.keys, link.frauds, link.spent) for link in now.links] == [
        ("payment.device", "d", ["b", "late"], 1, "26.00")
    ]
    assert [(link.keys, link.frauds, link.spent) for link in then.links] == [(["b"], 0, "6.00")]
    assert [(hub.value, hub.keys) for hub in now.hubs] == [("hub", 4)]
    assert [(link.value, link.keys, link.frauds) for link in of_b.links] == [("d", ["a", "late"], 1), ("e", ["c"], 0)]
    assert project.run(ShowLinks(entity="card", key="nobody")).links == []


def test_without_via_the_keys_of_other_entities_link(tmp_path):
    files = LINKED | {"features.yaml": FILES["features.yaml"]}
    files["events.yaml"] = files["events.yaml"].rstrip() + "\n  device: { payment: device }\n"
    found = opened(tmp_path, files).run(ShowLinks(entity="card", key="c"))

    assert [(link.via, link.keys) for link in found.links] == [("payment.device", ["b"])]


def test_what_cannot_be_linked_is_refused(tmp_path):
    project = opened(tmp_path, LINKED | {"features.yaml": FILES["features.yaml"]})

    with pytest.raises(RefusalError, match="there is no entity 'cart'"):
        project.run(ShowLinks(entity="cart", key="a"))
    assert project.run(ShowLinks(entity="card", key="a")).links == []
    with pytest.raises(UsageError, match="nothing links keys of card"):
        project.run(BuildRings())


@pytest.mark.parametrize("kind", ["text?", "text? hashed"])
def test_rings_are_a_table_that_rules_read_and_the_same_bytes_when_made_twice(tmp_path, kind):
    project = opened(tmp_path, LINKED | {"events.yaml": LINKED["events.yaml"].replace("card: text?", f"card: {kind}")})
    first = project.run(BuildRings())
    made = (tmp_path / "tables" / "rings.csv").read_bytes()
    again = project.run(BuildRings(entity="card"))

    assert (first.rings, first.keys, first.largest, first.in_force, first.why_not) == (1, 4, 4, True, None)
    assert (tmp_path / "tables" / "rings.csv").read_bytes() == made
    assert again.seq == first.seq
    assert {line.split(",", 2)[2] for line in made.decode().splitlines()[1:]} == {"4,1,38.00"}
    rule = "- { id: ring, on: payment, by: card, when: 'tables.rings[this.card].frauds > 0', effect: review }\n"
    write_files(tmp_path, {"rules/ring.yaml": rule})
    inside, outside = app.open(tmp_path).decide([payment(30, "c", None, 13), payment(31, "alone", None, 13)])
    assert (inside.outcome, outside.outcome) == ("review", "approve")


def test_rings_take_a_declaration_that_stands_and_refuse_another_table_of_their_name(tmp_path):
    tables = "tables: { places: { place: text, zone: text } }\n"
    files = LINKED | {"events.yaml": tables + LINKED["events.yaml"], "tables/places.csv": "place,zone\nx,y\n"}
    project = opened(tmp_path, files)
    project.run(BuildRings())
    declared = (tmp_path / "events.yaml").read_text(encoding="utf-8")
    project.run(BuildRings())

    assert (
        "tables: { rings: { card: text, ring: text, cards: integer, frauds: integer, spent: money }, places:"
        in declared
    )
    assert (tmp_path / "events.yaml").read_text(encoding="utf-8") == declared
    other = write_files(tmp_path, {"events.yaml": declared.replace("spent: money", "paid: money")})
    (other / "tables" / "rings.csv").write_text("card,ring,cards,frauds,paid\n")
    with pytest.raises(UsageError, match="declares another table rings"):
        app.open(other).run(BuildRings())


def newest(log: Log, project: app.Project, card: str, steps: int, hidden: Collection[str] = ()) -> Neighbourhood:
    return newest_events(log, project.definitions, "card").of(card, log.watermark_ms() or 0, steps, hidden, VALUES_MAX)


def test_steps_lead_on_and_the_newest_events_give_the_same_as_all(tmp_path):
    project = opened(tmp_path)
    near, far = (project.run(ShowLinks(entity="card", key="a", steps=steps)) for steps in (1, 2))
    member = far.members[0]

    assert [(link.value, link.step, link.events) for link in far.links] == [("d", 1, 4), ("e", 2, 2)]
    assert (far.links[0].first, far.links[0].last) == (HOUR.format(10), HOUR.format(13))
    assert [(each.key, each.step) for each in far.members] == [("a", 0), ("b", 1), ("late", 1), ("c", 2)]
    assert (near.ring, far.ring, len(near.members)) == (4, 4, 3)
    assert (member.events, member.frauds, member.spent, member.outcome) == (2, 0, "7.00", "approve")
    with project.log.reading() as log:
        assert newest(log, project, "a", 2).links == far.links
    project.decide([payment(22, "new", "e", 14), label(1, "fraud", 14)])
    later = project.run(ShowLinks(entity="card", key="a", steps=2))
    with project.log.reading() as log:
        kept = newest(log, project, "a", 2)
        hidden = newest(log, project, "a", 2, {"payment.device=d"})
    assert (kept.links, kept.members, kept.ring) == (later.links, later.members, 5)
    assert (later.links[0].frauds, hidden.links, hidden.ring) == (2, [], 1)


def test_links_begin_where_their_window_reaches_and_be_it_in_the_lake(tmp_path):
    kept = "lateness: 1h\nlake: ./lake\nkeep: 2h\n"
    project = opened(tmp_path, LINKED | {"shroff.yaml": LINKED["shroff.yaml"] + kept})
    project.decide([payment(at, f"n{at % 7}", f"x{at % 5}", 14) for at in range(30, 60)])
    asked = [ShowLinks(entity="card", key=key, steps=3) for key in ("n3", "a")]

    def of_newest() -> Neighbourhood:
        with project.log.reading() as log:
            return newest(log, project, "n3", 3)

    whole, of_page = [project.run(question) for question in asked], of_newest()
    project.run(WriteLake())

    assert project.retention.prune().upto > 10
    assert [project.run(question) for question in asked] == whole
    assert of_newest() == of_page
    (tmp_path / "lake").rename(tmp_path / "elsewhere")
    links._KEPT = Fresh(8)
    assert of_newest().ring <= of_page.ring, "a page needs no lake"


def test_pages_follow_so_many_values_and_look_at_none_of_the_others(tmp_path, monkeypatch):
    project = opened(tmp_path)
    project.decide([payment(30 + at, card, f"x{at // 2}", 14) for at, card in enumerate(("m", "n") * 20)])
    whole = project.run(ShowLinks(entity="card", key="m"))
    looked = []
    shown = LinkedEvents.shown
    monkeypatch.setattr("shroff.explain.links.VALUES_MAX", 5)
    monkeypatch.setattr(LinkedEvents, "shown", lambda *given: looked.append(given[1]) or shown(*given))
    with project.log.reading() as log:
        near = newest_links(log, project.definitions, "card", "m")
        far = newest_links(log, project.definitions, "card", "a")

    assert len(whole.links) == 20
    assert (len(near.links), near.left_out >= 15, len(looked) < 20) == (5, True, True)
    assert (len(far.links), dict(far.over), far.ring) == (1, {"payment.device": 2}, 4)


@pytest.mark.slow
def test_cases_that_were_open_before_their_keys_came_into_one_ring_are_one_case_from_the_next_build_on(tmp_path):
    ring = '  ring: { payment: "tables.rings[this.card].ring" }\n'
    rule = "- { id: all, on: payment, by: card, when: payment.amount > 0, effect: review }\n"
    files = LINKED | {"rules/all.yaml": rule}
    project = app.open(write_files(tmp_path, files))
    project.decide([payment(1, "b", "d"), payment(2, "c", "d"), payment(3, "alone", "f")])
    with project.cases.open() as desk:
        case_actions.note(desk, ME, 2, "seen")
    project.run(BuildRings())
    events = (tmp_path / "events.yaml").read_text(encoding="utf-8").replace("entities:\n", "entities:\n" + ring)
    about = "cases: { about: { payment: ring } }\n"
    write_files(tmp_path, {"events.yaml": events, "shroff.yaml": files["shroff.yaml"] + about})
    project = app.open(tmp_path)
    first, again = project.run(BuildRings()), project.run(BuildRings())
    project.decide([payment(4, "c", None), payment(5, "a", "d"), payment(6, "alone", "f")])
    with project.cases.open() as desk:
        case_actions.claim(desk, ME, 4)
    grown, still = project.run(BuildRings()), project.run(BuildRings())
    project.decide([payment(7, "b", None), payment(8, "a", None)])
    with project.cases.open() as desk, desk.store.look() as look:
        found = [(case.entity, case.key, case.state, case.alerts, case.stake) for case in look.cases(range(9)).values()]
        told = [[(row.what, row.words) for row in look.history(number)] for number in (1, 2, 4)]
        waiting = [alert.id for alert in look.alerts(4)]

    rings = tmp_path / "tables" / "rings.csv"
    rings.write_text(f"{rings.read_text(encoding='utf-8')}alone,a,4,0,9.00\n", encoding="utf-8")
    project = app.open(tmp_path)
    with project.cases.open() as desk, desk.store.look() as look:
        unapplied = look.cases([3])[3].state
    project.decide([payment(9, "new", None)])  # whose writer makes the table active, as that of a service does
    with project.people.open() as people:
        desk = project.cases.desk(people)
        keeper = CaseKeeper(project, desk, lambda: None, print)
        keeper.begin()
        try:
            until(lambda: state_of(desk, 3) == "closed")
            rings.write_text(f"{rings.read_text(encoding='utf-8')}new,a,5,0,9.00\n", encoding="utf-8")
            assert state_of(desk, 5) == "open"
            assert project.run(ApplyFiles()).applied  # while the same thread goes on
            until(lambda: state_of(desk, 5) == "closed")
        finally:
            keeper.end()

    assert unapplied == "open"
    assert [done.joined for done in (first, again, grown, still)] == [1, 0, 1, 0]
    assert found == [
        ("ring", "b", "closed", 0, None),
        ("card", "c", "closed", 0, None),
        ("card", "alone", "open", 2, 900),
        ("ring", "a", "claimed", 6, 2700),
    ]
    assert waiting == ["p1", "p2", "p4", "p5", "p7", "p8"]
    assert told[0] == [("joined", "case 2"), ("joined", "case 4")]
    assert told[1:] == [[("note", "seen"), ("joined", "case 1")], [("claimed", ""), ("joined", "case 1")]]


@pytest.mark.slow
@pytest.mark.parametrize("ring_key", ["b", "r-1"])
def test_a_case_that_was_escalated_stays_so_when_its_ring_comes_together(tmp_path, ring_key):
    ring = '  ring: { payment: "tables.rings[this.card].ring" }\n'
    rule = "- { id: all, on: payment, by: card, when: payment.amount > 0, effect: review }\n"
    files = LINKED | {"rules/all.yaml": rule}
    project = app.open(write_files(tmp_path, files))
    project.decide([payment(1, "b", "d"), payment(2, "c", "d")])
    with project.cases.open() as desk:
        case_actions.escalate(desk, ME, 2, "a mule?")
    project.run(BuildRings())
    events = (tmp_path / "events.yaml").read_text(encoding="utf-8").replace("entities:\n", "entities:\n" + ring)
    about = "cases: { about: { payment: ring } }\n"
    write_files(tmp_path, {"events.yaml": events, "shroff.yaml": files["shroff.yaml"] + about})
    project = app.open(tmp_path)
    if ring_key == "b":
        project.run(BuildRings())
    else:  # a table that people wrote themselves
        rows = "".join(f"{card},{ring_key},2,0,3.00\n" for card in ("b", "c"))
        write_files(tmp_path, {"tables/rings.csv": f"card,ring,cards,frauds,spent\n{rows}d,,,,\n"})
        assert project.call("apply").applied
        assert project.call("apply").changed == []

    with project.cases.open() as desk, desk.store.look() as look:
        found = [(case.entity, case.key, case.state, case.alerts) for case in look.cases(range(9)).values()]
    assert found == [("card", "b", "closed", 0), ("ring", ring_key, "escalated", 2)]


def test_what_nearly_all_share_is_left_out_of_rings_and_a_longer_time_finds_older_links(tmp_path):
    """Forty cards pay in one shop; two of them by one device, and two others by another one 40 days before."""
    fields, entities = (
        "card: text?, device: text?, shop: text?",
        "  device: { payment: device }\n  shop: { payment: shop }\n",
    )
    events = FILES["events.yaml"].replace("card: text?", fields) + entities
    project = app.open(write_files(tmp_path, FILES | {"events.yaml": events}))
    paid = [{**payment(at, f"c{at}", "d" if at < 2 else None)["payment"], "shop": "m"} for at in range(40)]
    early = [{**payment(at, f"c{at - 60}", "old")["payment"], "at": "2026-01-20T10:00:00Z"} for at in (62, 63)]
    project.decide([*({"payment": event} for event in (*early, *paid)), label(0, "fraud", 10)])
    with project.log.reading() as log:
        found, now_ms = newest_events(log, project.definitions, "card"), log.watermark_ms() or 0
    assert found.wide(now_ms) == ["payment.shop"]
    for days, rings in ((0, [("c0", "c1")]), (90, [("c0", "c1"), ("c2", "c3")])):
        scope = LinkScope(days * DAY_MS, frozenset(found.wide(now_ms)))
        assert [ring.keys for ring in found.rings(now_ms, scope)] == rings
        shared = [(value.value, value.keys, value.frauds) for value in found.shared(now_ms, scope)]
        assert shared == [("d", 2, 1), *([("old", 2, 0)] if days else [])]
        assert [member.key for member in found.of("c2", now_ms, scope=scope).members] == ["c2", "c3"][: 1 + bool(days)]
    assert [len(ring.keys) for ring in found.rings(now_ms)] == [40]
    assert found.shared(now_ms)[0].keys == 40
