"""Several lanes: which projects can have them, where an event belongs, and what a lane's places are."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from shroff import config
from shroff.app import project as app
from shroff.app.live.labelling import Labelling
from shroff.app.wiring import OutsideSystems
from shroff.cli.main import run
from shroff.errors import DefinitionError, UsageError
from shroff.events.event import Event
from shroff.events.intake import Submission
from shroff.log.active_files import ACTIVE, NOW
from shroff.log.writer import REFUSED, TAKEN, Answer
from shroff.project.definitions import load_definitions
from shroff.project.settings.system import System
from shroff.project.settings.systems import Systems
from shroff.worker.lanes.lanes import Home, LanePaths, lane_problems, murmur2, partition_of, url_of_lane
from shroff.worker.lanes.work import told
from tests.support.controls_memory import MemoryControls, MemoryPost, RouteDoc

SHROFF = "shroff: 1\nname: lanes\nmoney: EUR\n"
EVENTS = """
payment:
  id: payment_id
  time: paid_at
  decide: true
  fields: { payment_id: text, paid_at: time, card: text, number: "text? hashed", other: text?, amount: money }
login:
  id: login_id
  time: at
  fields: { login_id: text, at: time, holder: text }
entities:
  card: { payment: card, login: holder }
"""
FEATURES = "card:\n  seen: count(payment) over 1d\n"


def definitions(events: str = EVENTS, features: str = FEATURES, policy: str = ""):
    files = {"shroff.yaml": SHROFF, "events.yaml": events, "features.yaml": features}
    return load_definitions(files | ({"policy.yaml": policy} if policy else {})).or_raise()


def systems(key: str = "card", **more: object) -> Systems:
    options = {"brokers": "b:1", "topics": {"payment": "payments"}, "lanes": "2"}
    return Systems(source=System("kafka", options | ({"key": key} if key else {})), **more)


def words(*files: object, **more: object) -> list[str]:
    return [one.message for one in lane_problems(definitions(*files), systems(**more))]


def test_a_project_whose_entities_have_the_key_of_messages_can_have_lanes():
    beside = EVENTS + "  card_shop: { payment: [other, card] }\n"
    features = FEATURES + "card_shop:\n  seen: count(payment) over 1d\n"

    assert words() == []
    assert words(beside, features) == []


def test_one_lane_asks_for_nothing():
    one = System("kafka", {"brokers": "b:1", "topics": {"payment": "payments"}})

    assert lane_problems(definitions(EVENTS + "  shop: { payment: other }\n"), Systems(source=one)) == []


@pytest.mark.parametrize(
    ("entity", "why"),
    [
        ("shop: { payment: other }", "entity shop of payment does not have card in its key"),
        ('issuer: { payment: "left(payment.card, 6)" }', "entity issuer of payment does not have card in its key"),
        ("holder: { login: [login_id] }", "entity holder of login does not have holder in its key"),
    ],
)
def test_an_entity_whose_events_would_be_in_several_lanes_is_refused_by_name(entity: str, why: str):
    (found,) = words(f"{EVENTS}  {entity}\n")

    assert found.startswith(why)


@pytest.mark.parametrize(
    ("key", "events", "why"),
    [
        ("", EVENTS, "lanes need 'key'"),
        ("cart", EVENTS, "the key 'cart' is not an entity. Did you mean card?"),
        ("card", EVENTS.replace(", login: holder }", " }"), "login has no card"),
        ("card", EVENTS.replace("payment: card,", "payment: [card, other],"), "is not one field of text"),
        ("card", EVENTS.replace("payment: card,", "payment: lower(payment.card),"), "is not one field of text"),
    ],
)
def test_the_key_of_messages_is_one_field_of_each_type(key: str, events: str, why: str):
    (found,) = words(events, key=key)

    assert why in found


def test_what_one_lane_cannot_see_of_another_is_refused_by_name():
    matching = "card:\n  got: count(payment) over 1d matching payment.other\n"
    explore = (
        "payment:\n  score: { review_at: 0.5, decline_at: 0.9 }\n  explore: { share: 1%, at_most_a_day: 5, "
        "amount_at_most: 100, expires: 2027-01-01, seed: nobody guesses this one, instead: review }\n"
    )

    assert words(EVENTS, matching)[0].startswith("card.got counts each payment by its other ('matching')")
    assert words(EVENTS, FEATURES, explore) == [
        "the policy explores payment with a cap for each day, which counts over all keys."
    ]
    assert words(online=System("redis", {}))[0].startswith("'online' is not for several lanes yet")
    assert words(keep_ms=5)[0].startswith("'keep' is not for several lanes yet")
    assert words(snapshots=System("snapshots", {"to": "s3://a/b"}))[0].startswith("'snapshots: to' is not for several")


@pytest.mark.parametrize(
    ("key", "found"),
    [  # of Kafka's own tests (UtilsTest.testMurmur2)
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_a_key_is_hashed_as_javas_producers_do(key: bytes, found: int):
    assert murmur2(key) == found % (1 << 32)
    assert partition_of(key, 7) == (found & 0x7FFFFFFF) % 7


def payment(card: str) -> Submission:
    event = Event("payment", "p", 0, ("p", 0, card, None, None, 1))
    return Submission("t/0", "1", lambda: b"", "payment", event=event)


def test_an_event_that_came_by_another_partition_is_refused_with_both():
    home = Home(definitions().events, "card", str)
    at = partition_of(b"c1", 4)

    assert home.checked(payment("c1"), None, at, 4).refusal is None
    assert home.checked(payment("c1"), b"whatever", at, 4).refusal is None
    refusal = home.checked(payment("c1"), None, (at + 1) % 4, 4).refusal
    assert refusal is not None
    assert refusal.startswith(f"card: this event came by partition {(at + 1) % 4}, and belongs to partition {at}: ")


def test_where_the_key_is_hashed_the_message_tells_it():
    events = EVENTS.replace("card: text,", "card: text hashed,").replace("holder: text", "holder: text hashed")
    home = Home(definitions(events).events, "card", lambda clear: f"hashed:{clear[::-1]}:")
    at, one = partition_of(b"c1", 4), payment("hashed:1c:")

    assert home.checked(one, b"c1", at, 4).refusal is None
    assert "belongs to partition" in str(home.checked(one, b"c1", (at + 1) % 4, 4).refusal)
    for key in (None, b"c2", b"\xff"):
        assert str(home.checked(one, key, at, 4).refusal).startswith("card: it is hashed here")


def test_an_event_without_the_key_belongs_to_no_entity_and_may_be_anywhere():
    events = EVENTS.replace("card: text,", "card: text?,")
    home = Home(definitions(events).events, "card", str)
    event = Event("payment", "p", 0, ("p", 0, None, None, None, 1))
    one = Submission("t/0", "1", lambda: b"", "payment", event=event)

    assert all(home.checked(one, None, at, 4).refusal is None for at in range(4))


def test_a_lane_has_a_log_of_its_own_and_the_projects_key_of_hashed_fields(tmp_path: Path):
    places, project = LanePaths(tmp_path, 3), config.ProjectPaths(tmp_path)

    assert places.log == tmp_path / ".shroff" / "lane-3" / "log.db"
    assert places.snapshots == tmp_path / ".shroff" / "lane-3" / "snapshots"
    assert places.hash_key == project.hash_key
    assert (places.lane, project.lane) == (3, None)


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("postgresql://u:p@h/d", "postgresql://u:p@h/d?schema=shroff_lane_2"),
        ("postgresql://h/d?schema=bank&sslmode=disable", "postgresql://h/d?schema=bank_lane_2&sslmode=disable"),
        ("mariadb://h:1/d", "mariadb://h:1/d?prefix=shroff_lane_2_"),
        ("mariadb://h:1/d?prefix=b_", "mariadb://h:1/d?prefix=b_lane_2_"),
    ],
)
def test_a_lane_in_a_database_has_tables_of_its_own(url: str, found: str):
    assert url_of_lane(url, 2) == found


@pytest.fixture
def project(tmp_path: Path) -> app.Project:
    source = "source:\n  kafka: { brokers: 'localhost:1', topics: { payment: p, login: l }, lanes: 2, key: card }\n"
    (tmp_path / "shroff.yaml").write_text(SHROFF + source)
    (tmp_path / "events.yaml").write_text(EVENTS)
    (tmp_path / "features.yaml").write_text(FEATURES)
    return app.open(tmp_path)


def test_what_needs_one_log_asks_for_a_lane(project: app.Project):
    assert (
        project.lanes.count,
        project.lanes.is_parted,
        project.lane(1).lanes.is_parted,
        project.opened.has_log(),
    ) == (
        2,
        True,
        False,
        False,
    )
    for call in (project.live.run, lambda: project.opened.open_log(read_only=True)):
        with pytest.raises(UsageError, match="this project has 2 lanes, each with a log of its own: name one with"):
            call()
    with pytest.raises(UsageError, match="there are 2 lanes, 0 to 1, and no lane 2"):
        project.lane(2)
    with pytest.raises(UsageError, match="no lane has a log yet"):
        project.replay("payment/p-1")


def test_lanes_take_events_from_their_topics_alone(project: app.Project, tmp_path: Path):
    for one in (project, project.lane(0)):
        with pytest.raises(UsageError, match="accepts events from its topics only"):
            one.ingest(tmp_path / "events.yaml", as_type="payment")
        with pytest.raises(UsageError, match="accepts events from its topics only"):
            one.decide([{"payment_id": "p"}], as_type="payment")
        with pytest.raises(UsageError, match="accepts events from its topics only"):
            one.quarantine.retry([])
    with pytest.raises(UsageError, match="leave --labels out"):
        project.production.produce(tmp_path / "events.yaml", as_type="payment", labels=tmp_path / "events.yaml")


def test_a_project_that_cannot_have_lanes_has_a_mistake(project: app.Project, tmp_path: Path):
    (tmp_path / "events.yaml").write_text(EVENTS + "  shop: { payment: other }\n")

    with pytest.raises(DefinitionError, match=r"shroff\.yaml:5:77 source\.kafka\.lanes: entity shop of payment"):
        app.open(tmp_path).opened.checked()


def test_files_with_a_mistake_are_sent_to_no_lane(
    project: app.Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(OutsideSystems, "open_post", lambda _: pytest.fail("nothing may be sent"))
    (tmp_path / "rules").mkdir()
    test = "{ name: one, events: [{ payment: { card: c, amount: 1.00, at: 2026-01-05T10:00:00Z } }], hits: [true] }"
    (tmp_path / "rules" / "r.yaml").write_text(
        f"- {{ id: often, on: payment, by: card, when: card.seen > 1, effect: review, tests: [{test}] }}\n"
    )

    with pytest.raises(DefinitionError, match="often"):
        project.lanes.tell()
    with pytest.raises(UsageError, match="all lanes have the same active version: leave --lane out"):
        project.lane(1).lanes.tell()


def test_one_lane_is_told_nothing_and_has_no_lanes(tmp_path: Path):
    (tmp_path / "shroff.yaml").write_text(SHROFF)
    (tmp_path / "events.yaml").write_text(EVENTS)
    one = app.open(tmp_path)

    for call in (one.lanes.tell, one.lanes.states, lambda: one.lane(0)):
        with pytest.raises(UsageError, match="this project has one lane"):
            call()


@pytest.mark.parametrize("words", [["--limit", "5"], ["--as", "payment"], ["--format", "csv"]])
def test_what_is_for_one_worker_is_not_for_a_worker_for_each_lane(
    words: list[str], project: app.Project, capsys: pytest.CaptureFixture[str]
):
    assert run(["-C", str(project.opened.places.folder), "run", *words]) == 2

    assert f"{words[0]} is for one lane: name it with --lane." in capsys.readouterr().err


def test_a_lane_begins_with_the_version_that_waits_for_it_if_that_is_fit(
    project: app.Project, monkeypatch: pytest.MonkeyPatch
):
    waiting, said = RouteDoc(), list[str]()
    monkeypatch.setattr(OutsideSystems, "open_controls", lambda _, lane: MemoryControls(waiting, lane))
    lane, post = project.lane(1), MemoryPost(waiting)
    assert lane.lanes.waiting(said.append) is None

    post.publish(told(definitions(features=FEATURES.replace("1d", "2d"))), 2)
    found = lane.lanes.waiting(said.append)
    assert found is not None
    lane.opened.begin_with(found)
    assert (found[1], "2d" in lane.definitions.files["features.yaml"], said) == (1, True, [])

    for body in (b"{ no version", told(definitions(f"{EVENTS}  shop: {{ payment: other }}\n"))):
        post.publish(body, 2)
        assert lane.lanes.waiting(said.append) is None
    assert ["cannot become active: " in one for one in said] == [True, True]


@pytest.mark.parametrize(
    ("answer", "words", "proposed"),
    [
        (
            Answer(TAKEN, seq=12, lane=1),
            "labeled 'fraud', sequence number 12 of lane 1.",
            "shroff -C {} --lane 1 export labels",
        ),
        (Answer(TAKEN, lane=0), "labeled 'fraud' in lane 0.", "shroff -C {} --lane 0 export labels"),
        (Answer(REFUSED, reason="no lane has its event"), "no lane has its event.", "shroff -C {} lanes show"),
    ],
)
def test_a_label_of_a_lane_is_told_with_its_place_there(
    project: app.Project,
    answer: Answer,
    words: str,
    proposed: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.setattr(Labelling, "add", lambda *_, **__: answer)
    run(["-C", str(project.opened.places.folder), "label", "payment/p-1", "fraud"])

    told = capsys.readouterr()
    assert words in told.out
    assert f"Next: {proposed.format(project.opened.places.folder)}\n" in told.err


def lanes_at(folder: Path) -> app.Project:
    """A project with two lanes, each with a log that has nothing but its version."""
    source = "source: { kafka: { brokers: 'localhost:1', topics: { payment: p }, lanes: 2, key: card } }\n"
    events = EVENTS.replace(' number: "text? hashed",', " email: text? personal,")
    for name, text in {"shroff.yaml": SHROFF + source, "events.yaml": events, "features.yaml": FEATURES}.items():
        (folder / name).write_text(text)
    project = app.open(folder)
    for number in (0, 1):
        project.lane(number).outside.prepare_state()
        with project.lane(number).opened.writing():
            pass
    return project


def test_erase_looks_into_all_lanes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lane = lanes_at(tmp_path).lane(1)
    fields = {"payment_id": "p-1", "paid_at": "2026-03-01T10:00:00Z", "card": "c", "amount": "1.00", "email": "a@b.org"}
    with lane.opened.writing() as (writer, log):
        writer.write(
            [
                lane.taking.intake(keeps_hashes=False).submit(
                    "payment", fields, source="", place="", raw=b"", is_strict=True
                )
            ]
        )
        assert log.personal("payment", ["p-1"]) == {"p-1": {"email": "a@b.org"}}

    assert run(["-C", str(tmp_path), "erase", "card", "c"]) == 0
    assert capsys.readouterr().out == (
        "lane 0: No event has this card: check the key. Nothing to erase.\n"
        "lane 1: 1 event of 1 had personal values: erased.\n"
    )
    with lane.opened.reading() as log:
        assert log.personal("payment", ["p-1"]) == {}


@pytest.mark.slow
def test_settings_are_taken_up_by_every_lane_whether_it_runs_or_not(tmp_path: Path) -> None:
    project = lanes_at(tmp_path)
    first, second = project.lane(0), project.lane(1)
    with second.opened.writing() as (_, log):
        second.inboxes.begin_active(log)
    with first.opened.writing() as (writer, log):
        first.inboxes.begin_active(log)
        with closing(first.inboxes.running(writer, log)) as inbox, inbox.attended():
            with (tmp_path / "shroff.yaml").open("a") as file:
                file.write("sinks: { table: { sql: { url: 'sqlite:///out.db', table: decisions } } }\n")
            (tmp_path / "notices").mkdir()
            (tmp_path / "notices/away.yaml").write_text("on: failure\nto: [a@b.example]\n")
            found = app.open(tmp_path).applying.apply()

        assert [(one.file, one.takes) for one in found.changed] == [
            ("notices/away.yaml", NOW),
            ("shroff.yaml: sinks", NOW),
        ]
        assert (found.why_not, list(first.opened.systems.sinks), list(first.notice_files.declared)) == (
            "",
            ["table"],
            ["away"],
        )
    assert app.open(tmp_path).versions.unapplied() == []
    with second.opened.reading() as log:
        assert "shroff.yaml: sinks" in log.offsets(ACTIVE)


@pytest.mark.slow
def test_what_one_lane_does_not_have_yet_is_told_by_apply_and_doctor(tmp_path: Path) -> None:
    project = lanes_at(tmp_path)
    assert project.versions.unapplied() == []
    (tmp_path / "features.yaml").write_text(FEATURES.replace("1d", "2d"))
    project = app.open(tmp_path)
    first = project.lane(0)
    first.opened.begin_with((project.definitions.files, 1))
    with first.opened.writing():
        pass

    assert [one.file for one in project.versions.unapplied()] == ["features.yaml"]
    found = {one.subject: one.state for one in project.health.doctor() if one.subject.endswith("active version")}
    assert found == {"lane 0: active version": "ok", "lane 1: active version": "wrong"}
