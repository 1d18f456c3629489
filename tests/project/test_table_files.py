"""Files of look-up tables in every format, large ones by their content, and what reads them later."""

from __future__ import annotations

import gzip
import ipaddress
import json
import os
import re
import shutil
import sys
from collections.abc import Callable
from contextlib import nullcontext
from datetime import date
from pathlib import Path
from random import Random
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shroff.errors import DefinitionError, Problem, StorageError, UsageError
from shroff.events.loader import load_events
from shroff.language.lookups.table import LookUpTable
from shroff.language.yaml import text as yamltext
from shroff.log.version_switch import check_inputs_unchanged
from shroff.project import table_files
from shroff.project.definitions import load_definitions
from shroff.project.table_files import load_table
from shroff.runtime import contents
from shroff.services import project as app
from shroff.services.lookup_tables.operations import with_table
from tests.laws.test_cluster_replay import lake_of, spread_over
from tests.laws.test_cluster_replay import run as run_spread
from tests.recovery.struck import struck
from tests.support.mmdb import mmdb_bytes
from tests.support.projects import write_files

NETWORKS = {"192.0.2.0/24": "DE", "192.0.2.128/25": "FR", "2001:db8::/32": "NL"}
ASKED = {"192.0.2.1": "DE", "192.0.2.200": "FR", "2001:db8::1": "NL", "203.0.113.1": None}
FILES = {
    "shroff.yaml": "shroff: 1\nname: bank\nmoney: EUR\n",
    "events.yaml": "payment:\n  id: id\n  time: at\n  decide: true\n"
    "  fields: { id: text, at: time, card: text, ip: text?, amount: money }\n"
    "entities:\n  card: { payment: card }\n"
    "tables:\n  ip: { network: network, country: text from country.iso_code, since: time? }\n",
    "rules/ip.yaml": "- id: german\n  on: payment\n  by: card\n  when: tables.ip[this.ip].country == 'DE'\n"
    "  reason: from {tables.ip[this.ip].country}\n  effect: review\n",
}
TABLE = "network,country,since\n" + "".join(f"{network},{country},\n" for network, country in NETWORKS.items())


def written(folder: Path, files: dict[str, bytes | str]) -> Path:
    write_files(folder, {name: text for name, text in {**FILES, **files}.items() if isinstance(text, str)})
    for name, data in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(data.encode() if isinstance(data, str) else data)
    return folder


def loaded(folder: Path) -> LookUpTable:
    found = app.open(folder).definitions.reference.tables["ip"]
    assert isinstance(found, LookUpTable)
    return found


def mistakes(folder: Path) -> list[tuple[str, str]]:
    with pytest.raises(DefinitionError) as caught:
        loaded(folder)
    return [(problem.file, problem.message) for problem in caught.value.problems]


def parquet(rows: list[tuple[str, str]], since: pa.Scalar | None = None) -> bytes:
    sink = pa.BufferOutputStream()
    networks, countries = zip(*rows, strict=True)
    times = [None] * len(rows) if since is None else pa.repeat(since, len(rows))
    columns = {"network": networks, "country": pa.array(countries).dictionary_encode(), "since": times}
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue().to_pybytes()


def database(rows: dict[str, str]) -> bytes:
    return mmdb_bytes({network: {"country": {"iso_code": country}} for network, country in rows.items()})


FORMS = {
    "tables/ip.csv": TABLE.encode(),
    "tables/ip.csv.gz": gzip.compress(TABLE[:40].encode()) + gzip.compress(TABLE[40:].encode()) + bytes(8),
    "tables/ip.parquet": parquet(list(NETWORKS.items())),
    "tables/ip.mmdb": database(NETWORKS),
}


@pytest.mark.parametrize("file", FORMS)
def test_every_format_gives_the_same_rows(tmp_path, file):
    table = loaded(written(tmp_path, {file: FORMS[file]}))

    assert {text: table.value("country", text, 0) for text in ASKED} == ASKED
    assert table.value("since", "192.0.2.1", 0) is None


@pytest.mark.parametrize("type_", [pa.timestamp("ms"), pa.timestamp("ns"), pa.timestamp("us", "UTC")])
def test_a_time_of_parquet_is_in_utc_where_it_has_no_zone(tmp_path, type_):
    since = pa.scalar(date(2026, 3, 1)).cast(pa.timestamp("s")).cast(type_)
    table = loaded(written(tmp_path, {"tables/ip.parquet": parquet(list(NETWORKS.items()), since)}))

    assert table.value("since", "192.0.2.1", 0) == 1_772_323_200_000


@pytest.mark.parametrize(
    ("files", "file", "words"),
    [
        (
            {"tables/ip.csv": TABLE, "tables/ip.mmdb": FORMS["tables/ip.mmdb"]},
            "tables/ip.csv",
            "tables/ip.csv, tables/ip.mmdb",
        ),
        ({"tables/ip.csv.gz": FORMS["tables/ip.csv.gz"][:60]}, "tables/ip.csv.gz", "no whole file of gzip"),
        ({"tables/ip.parquet": b"PAR1"}, "tables/ip.parquet", "cannot be read as Parquet"),
        ({"tables/ip.mmdb": b"x" * 300}, "tables/ip.mmdb", "no whole MaxMind database"),
        ({"tables/ip.parquet": parquet([("192.0.2.1/24", "DE")])}, "tables/ip.parquet", "Write 192.0.2.0/24"),
        ({}, "events.yaml", "tables/ip.csv is missing"),
        ({"tables/ip.csv": TABLE, "tables/bin.parquet": b""}, "tables/bin.parquet", "no table of this name"),
    ],
)
def test_a_file_that_is_wrong_is_named_with_its_cure(tmp_path, files, file, words):
    ((named, told),) = mistakes(written(tmp_path, files))

    assert named == file
    assert words in told


@pytest.mark.parametrize("first", [39, 40, 41])
def test_what_unpacks_to_more_than_the_limit_is_refused_wherever_its_parts_end(tmp_path, monkeypatch, first):
    monkeypatch.setattr(table_files, "UNPACKED_MAX", 40)
    parts = gzip.compress(TABLE[:first].encode()) + gzip.compress(TABLE.encode() * 100)
    ((_, told),) = mistakes(written(tmp_path, {"tables/ip.csv.gz": parts}))

    assert told.startswith("it holds more than")


def test_a_database_without_its_library_is_refused_with_the_command_that_installs_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "maxminddb", None)

    ((_, told),) = mistakes(written(tmp_path, {"tables/ip.mmdb": FORMS["tables/ip.mmdb"]}))

    assert "pip install 'shroff[geo]'" in told


@pytest.mark.parametrize(
    ("declared", "words"),
    [
        ("{ low: network, high: network, country: text, from: at }", "from stands third, behind the key"),
        ("{ low: network, from: at, high: network, country: text }", "network"),
        ("{ low: suffix, high: suffix, country: text }", "suffix"),
        ("{ low: network, high: network }", "a key and at least one more column"),
        ("{ low: network, high: network, land: text }", "lacks the column low, high, land."),
    ],
)
def test_what_is_wrong_with_a_declared_range_is_told(tmp_path, declared, words):
    events = FILES["events.yaml"].replace(
        "{ network: network, country: text from country.iso_code, since: time? }", declared
    )

    found = mistakes(written(tmp_path, {"tables/ip.csv": TABLE, "events.yaml": events}))

    assert any(words in message for _, message in found), found


def test_ranges_of_parquet_may_be_numbers(tmp_path):
    events = (
        FILES["events.yaml"].replace("network: network,", "low: network, high: network,").replace("country.iso", "iso")
    )
    sink = pa.BufferOutputStream()
    columns = {"country": ["DE"], "low": pa.array([3221225984], pa.uint32()), "high": [3221226271], "since": [None]}
    pq.write_table(pa.table(columns), sink)
    table = loaded(written(tmp_path, {"tables/ip.parquet": sink.getvalue().to_pybytes(), "events.yaml": events}))

    assert [table.value("country", f"192.0.3.{end}", 0) for end in (31, 32)] == ["DE", None]


@pytest.mark.parametrize(
    "declared",
    [
        "{ bin: prefix, country: text }",
        "{ n: network, from: at, country: text }",
        "{ n: network, high: network, country: text }",
    ],
)
def test_a_database_is_of_networks_without_times(tmp_path, declared):
    events = FILES["events.yaml"].replace(
        "{ network: network, country: text from country.iso_code, since: time? }", declared
    )

    found = mistakes(written(tmp_path, {"tables/ip.mmdb": FORMS["tables/ip.mmdb"], "events.yaml": events}))

    assert "networks without times" in found[0][1]


@pytest.mark.parametrize(
    ("path", "value"),
    [("names.en", "Hesse"), ("sub[1].code", "F"), ("sub[0].code", "HE"), ("sub[9].code", None), ("names", None)],
)
def test_a_column_of_a_database_is_what_its_path_leads_to(tmp_path, path, value):
    record = {"names": {"en": "Hesse"}, "sub": [{"code": "HE"}, {"code": "F"}]}
    events = FILES["events.yaml"].replace("text from country.iso_code, since: time?", f'"text from {path}"')
    folder = written(tmp_path, {"tables/ip.mmdb": mmdb_bytes({"192.0.2.0/24": record}), "events.yaml": events})

    assert loaded(folder).value("country", "192.0.2.9", 0) == value


def large(country: str = "DE", seed: int = 1) -> str:
    """A table that is stored by its content, with the asked addresses in it."""
    random = Random(seed)
    rows = [f"10.{n >> 12 & 255}.{n >> 4 & 255}.{(n & 15) << 4}/28,XX," for n in random.sample(range(1 << 16), 30_000)]
    return TABLE.replace(",DE,", f",{country},") + "\n".join(rows) + "\n"


def payment(number: int, ip: str = "192.0.2.1") -> dict[str, str]:
    return {"id": f"p{number}", "at": "2026-03-01T12:00:00Z", "card": "c", "ip": ip, "amount": "1.00"}


def outcomes(project, *numbers):
    return [decision.outcome for decision in project.decide([payment(number) for number in numbers], as_type="payment")]


@pytest.fixture
def bank(tmp_path, monkeypatch):
    monkeypatch.setattr(contents, "STORED_BYTES_MIN", 64)
    return written(tmp_path / "bank", {"tables/ip.csv": TABLE})


def test_a_version_names_a_large_table_by_its_hash_and_has_none_of_its_rows(bank):
    project = app.open(bank)
    assert outcomes(project, 1) == ["review"]

    with project.context.log.reading() as log:
        (control,) = log.controls()
    assert contents.MARK.encode() in control.body
    assert b"192.0.2.0" not in control.body


def test_both_sides_of_a_changed_table_replay_when_the_file_is_gone(bank, tmp_path):
    assert outcomes(app.open(bank), 1, 2) == ["review", "review"]
    (bank / "tables/ip.csv").write_text(TABLE.replace(",DE,", ",PL,"))
    assert outcomes(app.open(bank), 3) == ["approve"]
    project = app.open(bank)
    (bank / "tables/ip.csv").unlink()
    shutil.rmtree(bank / ".shroff/tables/packed")

    assert project.verify().mismatches == 0
    with project.context.log.reading() as log:
        kept = {path.name for path in (bank / ".shroff/tables").iterdir() if len(path.name) == 64}
        assert len(kept) == len(log.controls()) == 2


@pytest.mark.slow
def test_processes_that_see_the_folder_decide_both_sides_of_a_changed_table_from_the_lake(bank, monkeypatch):
    assert outcomes(app.open(bank), 1, 2) == ["review", "review"]
    (bank / "tables/ip.csv").write_text(TABLE.replace(",DE,", ",PL,"))
    assert outcomes(app.open(bank), 3) == ["approve"]
    with app.open(bank).context.log.reading() as log:
        objects, recorded = lake_of(log), [row for rows in log.decisions.after() for row in rows]
    (bank / "tables/ip.csv").unlink()
    monkeypatch.setattr(contents, "_STORES", {})

    assert run_spread(spread_over(objects, 2, bank / "models"), 2).decisions == recorded
    shutil.rmtree(bank / ".shroff/tables")
    with pytest.raises(StorageError, match="is missing, a table"):
        spread_over(objects, 2, bank / "models")


def stored(folder: Path) -> set[str]:
    return {path.name for path in (folder / ".shroff/tables").iterdir() if len(path.name) == 64}


@pytest.mark.slow
def test_a_kill_between_a_content_and_its_commit_leaves_a_content_that_a_later_apply_removes(bank, tmp_path):
    def apply(folder: Path) -> Callable[[], object]:
        return lambda: app.open(folder).call("apply")

    assert outcomes(app.open(bank), 1) == ["review"]
    (bank / "tables/ip.csv").write_text(TABLE.replace(",DE,", ",PL,"))
    twin = shutil.copytree(bank, tmp_path / "twin")
    writes = struck(twin, apply(twin))
    kept = next(at for at, write in enumerate(writes, 1) if write.startswith("rename /.shroff/tables/."))
    commits = [at for at, write in enumerate(writes, 1) if write == "COMMIT the log"]
    for at in (kept + 1, commits[-2]):
        killed = shutil.copytree(bank, tmp_path / str(at))
        struck(killed, apply(killed), at)
        assert app.open(killed).verify().mismatches == 0
        (killed / "tables/ip.csv").write_text(TABLE.replace(",DE,", ",NL,"))  # the other is of no version
        left = stored(killed)
        assert app.open(killed).call("apply").applied
        assert left <= stored(killed)
        for name in stored(killed):
            os.utime(killed / ".shroff/tables" / name, (0, 0))
        (killed / "tables/ip.csv").write_text(TABLE)
        assert app.open(killed).call("apply").applied

        project = app.open(killed)
        assert (outcomes(project, 2), project.verify().mismatches) == (["review"], 0)
        with project.context.log.reading() as log:
            named = {contents.digest_of(text) for text in re.findall("stored sha256 [0-9a-f]{64}", str(log.controls()))}
        assert stored(killed) == {name.removeprefix(contents.MARK) for name in named}


def test_a_content_that_is_missing_or_damaged_is_told_and_nothing_is_decided_without_it(bank):
    assert outcomes(app.open(bank), 1) == ["review"]
    (stored,) = (path for path in (bank / ".shroff/tables").iterdir() if len(path.name) == 64)
    shutil.rmtree(bank / ".shroff/tables/packed")
    stored.write_bytes(b"x")
    with pytest.raises(StorageError, match="is damaged"):
        app.open(bank).verify()
    stored.unlink()
    with pytest.raises(StorageError, match="is missing"):
        app.open(bank).verify()

    assert outcomes(app.open(bank), 2) == ["review"]  # the file has it still, and it is stored again
    assert app.open(bank).verify().mismatches == 0


def test_a_version_is_not_put_in_force_where_its_table_cannot_be_stored(bank, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(contents, "_keep", full)
    project = app.open(bank)
    assert loaded(bank).value("country", "192.0.2.1", 0) == "DE"  # a check is well

    with pytest.raises(StorageError, match="is missing"):
        outcomes(project, 1)
    with project.context.log.reading() as log:
        assert not log.last_seq()


def test_a_file_that_reads_like_the_name_of_a_content_is_a_file(tmp_path):
    (file, told), *_ = mistakes(written(tmp_path, {"tables/ip.csv": f"{contents.MARK}{'0' * 64} 5\n"}))

    assert (file, "lacks the column" in told) == ("tables/ip.csv", True)


def test_a_table_is_parsed_once_and_again_where_what_was_kept_is_cut(bank, monkeypatch):
    first = loaded(bank)
    (packed,) = (bank / ".shroff/tables/packed").iterdir()
    with monkeypatch.context() as patched:
        patched.setattr(contents, "content_of", None)  # nothing reads it
        assert loaded(bank) == first
    packed.write_bytes(packed.read_bytes()[:-70])

    assert {text: loaded(bank).value("country", text, 0) for text in ASKED} == ASKED


def test_a_changed_file_of_the_same_size_is_read_again(bank):
    before = loaded(bank)
    (bank / "tables/ip.csv").write_text(TABLE.replace(",DE,", ",PL,"))

    assert loaded(bank) != before
    assert loaded(bank).value("country", "192.0.2.1", 0) == "PL"


@pytest.mark.slow
def test_a_mapped_table_answers_as_the_one_that_was_read(tmp_path):
    folder = written(tmp_path, {"tables/ip.csv": large()})
    assert (folder / "tables/ip.csv").stat().st_size > contents.STORED_BYTES_MIN
    events = load_events(yamltext.read(FILES["events.yaml"], "events.yaml", []), frozenset(), 2, [])
    problems: list[Problem] = []
    read = load_table("tables/ip.csv", large(), events.tables["ip"], "network", 2, problems)
    texts = [str(ipaddress.IPv4Address((10 << 24) + Random(n).getrandbits(20))) for n in range(500)] + list(ASKED)

    for table in (loaded(folder), loaded(folder)):
        assert [table.value("country", text, 0) for text in texts] == [read.value("country", text, 0) for text in texts]
    assert problems == []


MAPPED = (
    FILES["events.yaml"]
    .replace(
        "entities:",
        "  from:\n    csv:\n      card: tables.bins[left(row.card, 4)].bank else 'none'\n      ip: row.ip\n"
        "    json:\n      when: tables.bins[row.card].bank == 'Old'\n      card: tables.bins[row.card].bank\nentities:",
    )
    .replace("tables:\n", "tables:\n  bins: { bin: prefix, from: since, bank: text }\n")
)
BINS = "bin,since,bank\n4111,2026-01-01,Old\n4111,2026-03-01,New\n41,2026-01-01,Other\n"


def test_a_mapping_reads_the_row_that_is_valid_at_the_events_time(bank, tmp_path):
    settings = FILES["shroff.yaml"] + "lateness: 500d\n"
    written(bank, {"events.yaml": MAPPED, "tables/bins.csv": BINS, "shroff.yaml": settings})
    lines = tmp_path / "p.csv"
    lines.write_text(
        "id,at,card,amount,ip\na,2026-02-28T23:59:59Z,4111999,1.00,\nb,2026-03-01T00:00:00Z,4111,1.00,\n"
        "c,2026-03-01T00:00:00Z,4199,1.00,\nd,2025-01-01T00:00:00Z,4111,1.00,\n"
    )
    messages = tmp_path / "p.jsonl"
    messages.write_text(
        '{"id": "e", "at": "2026-02-01T00:00:00Z", "card": "4111", "amount": "1.00", "kind": 1}\n'
        '{"id": "f", "at": "2026-04-01T00:00:00Z", "card": "4111", "amount": "1.00", "kind": 1}\n'
    )
    project = app.open(bank)
    project.ingest(lines, as_type="payment", order="time")
    assert project.ingest(messages).untaken == 1

    with project.context.log.reading() as log:
        found = {row.id: json.loads(row.body)["card"] for rows in log.read() for row in rows if row.kind == "event"}
    assert found == {"a": "Old", "b": "New", "c": "Other", "d": "none", "e": "Old"}
    assert project.verify().mismatches == 0


def test_a_running_writer_is_started_again_for_a_table_that_its_mapping_reads(bank):
    written(bank, {"events.yaml": MAPPED, "tables/bins.csv": BINS})
    before = app.open(bank).definitions
    (bank / "tables/bins.csv").write_text(BINS + "5,2026-01-01,Fifth\n")

    with pytest.raises(UsageError, match="a table that a mapping reads"):
        check_inputs_unchanged(before, app.open(bank).definitions)


def test_a_mapping_that_reads_no_table_takes_a_changed_one_at_once(bank):
    before = app.open(bank).definitions
    (bank / "tables/ip.csv").write_text(TABLE.replace(",DE,", ",PL,"))

    check_inputs_unchanged(before, app.open(bank).definitions)


def test_a_running_writer_takes_a_new_table_at_once_but_no_other_shape_of_one(bank):
    before = app.open(bank).definitions
    events = (bank / "events.yaml").read_text()
    written(bank, {"events.yaml": with_table(events, "m", "{ a: text, b: text }"), "tables/m.csv": "a,b\n1,2\n"})
    with_m = app.open(bank).definitions

    check_inputs_unchanged(before, with_m)

    written(bank, {"events.yaml": with_table(events, "m", "{ a: text, b: integer }")})
    with pytest.raises(UsageError):
        check_inputs_unchanged(with_m, app.open(bank).definitions)


def test_a_packed_table_with_any_bit_changed_is_made_again_from_the_content(bank):
    expected = loaded(bank)
    (packed,) = (bank / ".shroff/tables/packed").iterdir()
    clean = packed.read_bytes()
    random = Random(7)
    for place in [*range(16), *random.sample(range(64, len(clean)), 16)]:
        damaged = bytearray(clean)
        damaged[place] ^= 1 << random.randrange(8)
        packed.write_bytes(damaged)
        table = loaded(bank)

        assert {text: table.value("country", text, 0) for text in ASKED} == ASKED, place
        assert packed.read_bytes() != damaged
        assert LookUpTable.mapped(str(packed), expected.digest) == expected


def test_a_packed_table_under_the_name_of_another_is_not_taken(bank):
    first = loaded(bank)
    (bank / "tables/ip.csv").write_text(TABLE.replace(",DE,", ",XX,"))
    other = loaded(bank)
    one, two = (bank / ".shroff/tables/packed").iterdir()
    shutil.copyfile(one, bank / "kept")
    shutil.copyfile(two, one)
    shutil.copyfile(bank / "kept", two)

    assert loaded(bank).value("country", "192.0.2.1", 0) == "XX"
    assert first.digest != other.digest


def test_verify_and_replay_read_the_content_and_not_the_packed_form(bank):
    """A packed form with right checksums and a wrong row, as a fault of the program would leave it."""
    table = loaded(bank)
    events = app.open(bank).definitions.events
    (packed,) = (bank / ".shroff/tables/packed").iterdir()
    text = TABLE.replace(",DE,", ",XX,")
    wrong = load_table("tables/ip.csv", text, events.tables["ip"], events.table_keys["ip"], 2, [])
    wrong.digest = table.digest
    with packed.open("wb") as file:
        wrong.write(file)
    project = app.open(bank)
    assert outcomes(project, 1) == ["approve"]

    assert project.verify("online").mismatches > 0
    assert project.verify("batch").mismatches > 0
    assert not project.replay("p1").match


@pytest.mark.parametrize("ending", ["parquet", "mmdb"])
def test_a_table_that_unpacks_to_more_than_the_limit_is_refused(tmp_path, monkeypatch, ending):
    monkeypatch.setattr(table_files, "UNPACKED_MAX", 3)
    ((_, told),) = mistakes(written(tmp_path, {f"tables/ip.{ending}": FORMS[f"tables/ip.{ending}"]}))

    assert told.startswith("it holds more than")


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        ("0.0000000000001", "has more than the 12 decimal places of number(12). Round it"),
        ("1.2345678901239", "has more than the 12 decimal places of number(12). Round it"),
        ("0e5", "it is above 0"),
        ("0.000", "it is above 0"),
    ],
)
def test_a_rate_that_would_be_rounded_or_is_zero_is_refused_where_it_stands(tmp_path, cell, words):
    files = {
        "shroff.yaml": "shroff: 1\nname: t\nmoney: { currency: EUR, rates: fx }\n",
        "events.yaml": "tables:\n  fx: { currency: text, from: valid_from, rate: number(12) }\n",
        "tables/fx.csv": f"currency,valid_from,rate\nUSD,2026-01-01,{cell}\n",
    }
    problems = load_definitions(files).problems

    assert [(problem.file, problem.line) for problem in problems] == [("tables/fx.csv", 2)]
    assert words in problems[0].message


def test_a_number_of_a_table_with_more_places_than_declared_is_refused_with_line_and_column(tmp_path):
    files = {
        "shroff.yaml": "shroff: 1\nname: t\nmoney: EUR\n",
        "events.yaml": "tables:\n  risk: { country: text, name: text, share: number(2) }\n",
        "tables/risk.csv": "country,name,share\nDE,Germany,0.500\nFR,France,0.125\n",
    }
    (problem,) = load_definitions(files).problems

    assert (problem.file, problem.line, problem.column) == ("tables/risk.csv", 3, len("FR,France,") + 1)
    assert "0.125 has more than the 2 decimal places of number(2). Declare number(3)" in problem.message


@pytest.mark.parametrize(
    ("kind", "key", "hint"),
    [
        ("suffix", "this.email", "Write domain(this.email)."),
        ("suffix", "lower(this.payer_mail)", "Write domain(lower(this.payer_mail))."),
        ("suffix", "domain(this.email)", ""),
        ("suffix", "this.host", ""),
        ("network", "subnet(this.ip, 24)", "Write this.ip."),
        ("network", "this.email", "Write the field with the address."),
        ("network", "this.ip", ""),
        ("prefix", "domain(this.email)", "Declare the key of the table as suffix."),
        ("prefix", "this.email", ""),
        ("text", "this.email", ""),
    ],
)
def test_check_warns_of_a_key_that_can_match_no_row(kind, key, hint):
    fields = "id: text, at: time, email: text?, payer_mail: text?, host: text?, ip: text?"
    first = {"suffix": "example.com", "network": "192.0.2.0/24"}.get(kind, "4111")
    files = {
        "shroff.yaml": "shroff: 1\nname: t\nmoney: EUR\n",
        "events.yaml": f"tables:\n  seen: {{ name: {kind}, risk: integer }}\n"
        f"payment:\n  id: id\n  time: at\n  decide: true\n  fields: {{ {fields} }}\n"
        "entities: { host: { payment: host } }\n",
        "tables/seen.csv": f"name,risk\n{first},1\n",
        "rules/a.yaml": "- id: risky\n  on: payment\n  by: host\n  effect: review\n"
        f"  when: tables.seen[{key}].risk > 0\n",
    }
    loaded = load_definitions(files)

    assert [str(problem) for problem in loaded.problems] == []
    found = [problem.hint for problem in loaded.warnings if "looks up" in problem.message]
    assert found == ([hint] if hint else [])


@pytest.mark.parametrize(
    "child",
    [
        lambda node, side: 0,
        lambda node, side: node if side else None,
        lambda node, side: node + 1 if node < 100 else None,  # 2**100 paths, and no loop
    ],
    ids=["root", "itself", "both lead on"],
)
def test_a_tree_of_networks_that_is_read_without_an_end_is_refused(tmp_path, child):
    data = bytearray(mmdb_bytes({"2001:db8::1/128": {"country": {"iso_code": "DE"}}}))
    for node in range(120):
        for side in (0, 1):
            if (to := child(node, side)) is not None:
                at = 8 * node + 4 * side
                data[at : at + 4] = to.to_bytes(4, "big")

    ((_, told),) = mistakes(written(tmp_path, {"tables/ip.mmdb": bytes(data)}))
    assert "no whole MaxMind database" in told


@pytest.mark.parametrize("size", [24, 28, 32])
def test_a_tree_is_walked_in_each_size_of_its_records(tmp_path, size):
    first, second = 1, 2**24 + 5 if size > 24 else 9  # behind the nodes: data
    pairs = [(first, second), (second, second)]
    path = tmp_path / "tree"
    words = {24: 6, 28: 7, 32: 8}[size]
    for (left, right), is_bad in ((pairs[0], False), ((second, 0), True)):
        nodes = [(left, right), pairs[1]]
        if size == 28:
            raw = b"".join(
                (a & 0xFFFFFF).to_bytes(3, "big")
                + bytes([(a >> 24) << 4 | b >> 24])
                + (b & 0xFFFFFF).to_bytes(3, "big")
                for a, b in nodes
            )
        else:
            raw = b"".join(number.to_bytes(words // 2, "big") for pair in nodes for number in pair)
        path.write_bytes(raw)
        about = SimpleNamespace(node_count=2, record_size=size, ip_version=6)
        with pytest.raises(ValueError, match="loops") if is_bad else nullcontext():
            table_files._check_tree(path, about)


@pytest.mark.parametrize("tables", ["9bad: { code: text, note: text }", "good: { code: txt, note: text }"])
def test_a_mistake_in_a_table_is_told_once(tables):
    problems = list[Problem]()
    load_events(yamltext.read(f"tables:\n  {tables}\n", "events.yaml", []), frozenset(), 2, problems)

    assert len(problems) == 1
