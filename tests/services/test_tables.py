"""Operations on look-up tables: declaring one, the row that a value gives, versions and who applied them."""

from __future__ import annotations

import pytest

from shroff import config
from shroff.errors import DefinitionError, NotAllowedError, UsageError
from shroff.people.store import rows_of
from shroff.services import project as app
from shroff.services.lookup_tables.operations import (
    InitTable,
    PutTable,
    ShowTable,
    ShowTables,
    UnknownTableError,
    with_table,
)
from tests.support.projects import write_files
from tests.support.webs import Asker, Browser, run
from tests.web.test_people import call, send
from tests.web.test_two_people import second

EVENTS = (
    "payment:  # what we decide\n  id: id\n  time: at\n  decide: true\n"
    "  fields: { id: text, at: time, card: text, ip: text?, amount: money }\nentities:\n  card: { payment: card }\n"
)
RULE = "- id: german\n  on: payment\n  by: card\n  when: tables.ip[this.ip].country == 'DE'\n  effect: review\n"
TABLE = "network,since,country\n192.0.2.0/24,2026-01-01,DE\n192.0.2.0/24,2026-03-01,FR\n192.0.0.0/16,2026-01-01,\n"
CODES = "code,level\n7,low\n"
DECLARED = "tables:\n  ip: { network: network, from: since, country: text? }\n  codes: { code: integer, level: text }\n"


@pytest.fixture
def bank(tmp_path):
    return write_files(tmp_path / "bank", {"shroff.yaml": "shroff: 1\nname: bank\nmoney: EUR\n", "events.yaml": EVENTS})


@pytest.fixture
def looked_up(bank):
    files = {"events.yaml": EVENTS + DECLARED, "tables/ip.csv": TABLE, "tables/codes.csv": CODES, "rules/ip.yaml": RULE}
    return app.open(write_files(bank, files))


def init(folder, kind, **more):
    return app.open(folder).run(InitTable(kind=kind, **more))


@pytest.mark.parametrize(
    "declared",
    [
        "",
        "tables:  # mine\n    m: { a: text, b: text }  # the first\n",
        "tables: { m: { a: text, b: text } }  # all\n",
        "tables: {}\n",
        "# the end\n",
    ],
)
def test_each_shape_is_declared_beside_what_is_there_and_the_project_stays_well(bank, declared):
    write_files(bank, {"events.yaml": EVENTS + declared, **({"tables/m.csv": "a,b\n"} if " m:" in declared else {})})

    for kind in ("ip", "vpn", "bins", "mail"):
        told = init(bank, kind)
        assert told.files == ["events.yaml", f"tables/{kind}.csv"]
        with pytest.raises(UsageError, match=f"declares a table {kind} already. Nothing was changed"):
            init(bank, kind)

    empty = ", ".join(["bins", "ip", *(["m"] if " m:" in declared else []), "mail", "vpn"])
    assert f"Tables without rows: {empty}. Each look-up in them is missing." in repr(app.open(bank).check())
    text = (bank / "events.yaml").read_text()
    assert all(part.split("\n")[0] in text for part in (EVENTS + declared).split("#")[1:])
    assert not app.open(bank).check().errors
    assert {"ip", "bins", "mail"} <= app.open(bank).definitions.events.tables.keys()


def test_put_fills_the_declared_table_and_no_other_way_of_declaring_is_needed_for_ranges(bank):
    assert init(bank, "ip").hints() == ["shroff tables put ip FILE"]
    assert app.open(bank).run(PutTable(name="ip", csv="network,country\n192.0.2.0/24,DE\n")).rows == 1
    ranges = PutTable(
        name="gates",
        csv="low,high,country\n3221225984,192.0.2.31,DE\n",
        key_type="network",
        columns="high: network, country: text",
    )
    assert app.open(bank).run(ranges).is_new

    found = app.open(bank)
    assert not found.check().errors
    assert found.run(ShowTable(name="ip", value="192.0.2.31")).row.values == {"country": "DE"}
    shown = found.run(ShowTable(name="gates", value="192.0.2.31"))
    assert shown.table.columns == ["low", "high", "country"]
    assert shown.row.key == "3221225984-192.0.2.31"


def test_no_command_declares_a_table_where_a_second_person_approves_lists(bank):
    write_files(bank, {"shroff.yaml": (bank / "shroff.yaml").read_text() + "second_person: [lists]\n"})

    with pytest.raises(NotAllowedError, match="a second person approves changes of lists here"):
        init(bank, "ip")
    assert (bank / "events.yaml").read_text() == EVENTS


def test_a_file_that_is_there_is_not_written_over(bank):
    (bank / "tables").mkdir()
    (bank / "tables/ip.mmdb").write_bytes(b"x")

    with pytest.raises(DefinitionError, match=r"tables/ip\.mmdb: no table of this name is declared"):
        init(bank, "ip")
    assert (bank / "events.yaml").read_text() == EVENTS


def test_tables_are_listed_with_how_they_match_and_what_reads_them(looked_up):
    found = {table.name: table for table in looked_up.run(ShowTables()).tables}

    assert (found["ip"].match, found["ip"].rows, found["ip"].read_by) == ("network", 3, ["rule german"])
    assert (found["codes"].match, found["codes"].rows, found["codes"].read_by) == ("equal", 1, [])


@pytest.mark.parametrize(
    ("value", "at", "line", "country"),
    [
        ("192.0.2.1", "2026-02-28T23:59:59Z", 2, "DE"),
        ("192.0.2.1", "2026-03-01T00:00:00Z", 3, "FR"),
        ("192.0.3.1", "2026-03-01T00:00:00Z", 4, None),
    ],
)
def test_a_value_shows_the_row_that_wins(looked_up, value, at, line, country):
    row = looked_up.run(ShowTable(name="ip", value=value, at=at)).row

    assert (row.line, row.values) == (line, {"country": country})
    assert row.since == ("2026-03-01T00:00:00Z" if line == 3 else "2026-01-01T00:00:00Z")


@pytest.mark.parametrize(
    ("name", "value", "at"),
    [("ip", "198.51.100.1", ""), ("ip", "192.0.2.1", "2025-01-01T00:00:00Z"), ("codes", "x", "")],
)
def test_without_a_row_the_answer_is_no(looked_up, name, value, at):
    answer = looked_up.run(ShowTable(name=name, value=value, at=at))

    assert (answer.row, answer.exit_status()) == (None, 1)
    assert f"No row matches {value}" in answer.text()


def test_what_is_asked_wrongly_is_told(looked_up):
    with pytest.raises(UnknownTableError, match="ip"):
        looked_up.run(ShowTable(name="ips"))
    with pytest.raises(UsageError, match="--at"):
        looked_up.run(ShowTable(name="ip", value="x", at="soon"))


def test_versions_say_who_applied_them_and_which_rows_they_changed(looked_up):
    folder = looked_up.context.paths.folder
    payment = {"id": "p1", "at": "2026-02-01T12:00:00Z", "card": "c", "ip": "192.0.2.1", "amount": "1.00"}
    assert looked_up.decide([payment], as_type="payment")[0].outcome == "review"
    config.write_text(folder / "tables/ip.csv", TABLE.replace(",DE", ",NL") + "203.0.113.0/24,2026-01-01,DE\n")
    assert app.open(folder).call("apply").applied

    view = app.open(folder).run(ShowTable(name="ip"))
    assert [(version.seq, bool(version.by)) for version in view.versions] == [(3, True), (1, False)]
    changed = app.open(folder).run(ShowTable(name="ip", seq=3)).difference
    assert changed[0] == "@@ rows: 1 added, 1 changed, 0 gone @@"
    assert "-192.0.2.0/24,2026-01-01,DE" in changed
    assert [version.seq for version in app.open(folder).run(ShowTable(name="codes")).versions] == [1]


@pytest.mark.slow
def test_the_screen_shows_the_row_of_a_value_versions_and_what_is_wrong(looked_up):
    async def steps(_: Asker, browser: Browser) -> None:
        assert b"/tables/ip" in (await browser.get("/tables")).body
        shown = (await browser.get("/tables/ip?q=192.0.2.1&at=2026-02-01T00:00:00Z")).body
        assert b"192.0.2.0/24" in shown
        assert b"DE" in shown
        assert b"No row matches" in (await browser.get("/tables/ip?q=%3Cb%3E")).body
        wrong = await browser.get("/tables/ip?q=192.0.2.1&at=soon&seq=x")
        assert (wrong.status, b"is not a time" in wrong.body) == (422, True)
        assert (await browser.get("/tables/none")).status == 404

    run(looked_up.context.paths.folder, steps)


ROWS = "merchant,country,risk,seen\nm-1,DE,0.25,3\nm-2,,0.5,4\n"


@pytest.mark.slow
def test_a_table_is_made_and_its_rows_are_replaced_on_the_screen(bank):
    async def steps(asks: Asker, browser: Browser) -> None:
        def country() -> str | None:
            found = asks.service.project.definitions.reference.tables["merchants"]
            return found.value("country", "m-1", 0)

        event = {"id": "1", "at": "2026-01-05T08:00:00Z", "card": "c", "amount": "1.00"}
        assert (await call(browser, "POST", "/api/v1/events/payment", [event])).status == 200
        assert b"Create table" in (await browser.get("/tables")).body
        for wrong, says in (
            ({"name": "Shops", "csv": ROWS}, b"is no name"),
            ({"name": "shops", "csv": ""}, b"is no name"),
            ({"name": "shops", "csv": ROWS, "columns": "country text"}, b"is not such as"),
            ({"name": "shops", "csv": ROWS, "key_type": "rhyme"}, b"rhyme"),
            ({"name": "shops", "csv": f"{ROWS}m-3,DE,high,4\n", "columns": "risk: number(2)"}, b"Line 4 of tables"),
        ):
            refused = await send(browser, "/tables", **wrong)
            assert (refused.status, says in refused.body) == (422, True), wrong
            assert b"m-1" in refused.body or not wrong["csv"], "what was typed stays"
        made = await send(browser, "/tables", name="merchants", csv=ROWS)
        assert (made.status, made.headers["location"]) == (303, "/tables/merchants?said=done")
        declared = "merchants: { merchant: text, country: text?, risk: number(2), seen: integer }"
        assert declared in (bank / "events.yaml").read_text()
        assert country() == "DE"

        lacking = await send(browser, "/tables/merchants", csv="merchant,country\nm-1,FR\n")
        assert (lacking.status, b"lacks the column risk" in lacking.body) == (422, True)
        replaced = await send(browser, "/tables/merchants", csv=ROWS.replace("DE", "FR"))
        assert (replaced.status, replaced.headers["location"]) == (303, "/tables/merchants?said=done")
        assert country() == "FR"
        rows = [row for row in rows_of(asks.service.desk.store) if row.action == "table.change"]
        assert [(row.name, row.subject) for row in rows] == [("ann", "table merchants")] * 2

    run(bank, steps)


@pytest.mark.slow
def test_a_second_person_approves_rows_that_they_can_see(bank):
    write_files(bank, {"shroff.yaml": "shroff: 1\nname: bank\nmoney: EUR\nsecond_person: [lists]\n"})

    async def steps(asks: Asker, browser: Browser) -> None:
        other = await second(asks)
        assert (await send(browser, "/tables", name="merchants", csv=ROWS)).status == 403
        assert not (bank / "tables/merchants.csv").exists()
        (waiting,) = (await call(other, "GET", "/api/v1/approvals")).json()["approvals"]
        assert waiting["says"] == "act tables put, name merchants, csv of 3 lines, key_type text"
        shown = (await other.get("/approvals")).body
        assert b"<code>m-1,DE,0.25,3</code>" in shown
        done = await send(other, f"/approvals/{waiting['etag']}", do="approve", note="as the scheme says")
        assert b"merchants has 2 rows" in done.body
        assert (bank / "tables/merchants.csv").read_text() == ROWS
        (row,) = (row for row in rows_of(asks.service.desk.store) if row.action == "table.change")
        assert (row.name, "asked_by" in (row.after or "")) == ("ben", True)

    run(bank, steps)


def test_a_table_whose_rows_are_no_csv_is_not_replaced(bank):
    write_files(bank, {"events.yaml": with_table(EVENTS, "ip", "{ network: network, country: text }")})
    (bank / "tables").mkdir()
    (bank / "tables/ip.mmdb").write_bytes(b"x")
    with pytest.raises((UsageError, DefinitionError)):
        app.open(bank).run(PutTable(name="ip", csv=TABLE))
    assert [file.name for file in (bank / "tables").iterdir()] == ["ip.mmdb"]


def test_columns_of_a_declared_table_are_not_given_again(looked_up):
    with pytest.raises(UsageError, match="leave out key and columns"):
        looked_up.run(PutTable(name="codes", csv=CODES, columns="level: integer"))
