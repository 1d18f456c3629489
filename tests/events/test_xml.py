"""XML is read record by record, as objects of JSON; entities are refused."""

from __future__ import annotations

import gzip
import tracemalloc
from contextlib import nullcontext

import pytest

from shroff.errors import UsageError
from shroff.events.formats import xml
from shroff.events.formats.encodings import read_lines
from shroff.language.expression import ITEM
from shroff.services import project as app
from tests.public_cases import SETTINGS

ENTRY = (
    '<Ntry><NtryRef>{n}</NtryRef><Amt Ccy="EUR">{n}.50</Amt><CdtDbtInd>DBIT</CdtDbtInd><BookgDt><Dt>2026-03-01</Dt>'
    "</BookgDt><NtryDtls><TxDtls><RmtInf><Ustrd>a</Ustrd><Ustrd>b</Ustrd></RmtInf></TxDtls></NtryDtls></Ntry>\n"
)
CAMT = (
    '<?xml version="1.0"?><Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.053.001.02" '
    'xmlns:x="http://www.w3.org/2001/XMLSchema-instance" x:schemaLocation="a b"><BkToCstmrStmt>'
    "<GrpHdr><MsgId>m1</MsgId></GrpHdr><Stmt><Id>s1</Id><Bal><Cd>OPBD</Cd></Bal><Bal><Cd>CLBD</Cd></Bal>\n"
    "{}</Stmt></BkToCstmrStmt></Document>"
)
PAIN = (
    "<Document><CstmrCdtTrfInitn><PmtInf><Dbtr>d1</Dbtr><CdtTrfTxInf><Id>1</Id></CdtTrfTxInf></PmtInf>"
    "<PmtInf><Dbtr>d2</Dbtr><CdtTrfTxInf><Id>2</Id></CdtTrfTxInf><CdtTrfTxInf><Id>3</Id></CdtTrfTxInf></PmtInf>"
    "</CstmrCdtTrfInitn></Document>"
)


def read(tmp_path, text, name="a.xml"):
    path = tmp_path / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    with read_lines(path) as lines:
        return list(lines)


@pytest.mark.parametrize("count", [1, 3])
def test_an_entry_of_a_statement_is_a_line_with_what_stood_before_it(tmp_path, count):
    lines = read(tmp_path, CAMT.format("".join(ENTRY.format(n=n) for n in range(count))), "a.xml.gz")
    statement = lines[-1].columns["Document"]["BkToCstmrStmt"]

    assert [line.number for line in lines] == list(range(1, count + 1))
    assert lines[0].line == 2
    assert statement["GrpHdr"] == {"MsgId": "m1"}
    assert statement["Stmt"]["Bal"] == [{"Cd": "OPBD"}, {"Cd": "CLBD"}]
    assert statement["Stmt"]["Ntry"]["Amt"] == {"@Ccy": "EUR", "#text": f"{count - 1}.50"}
    assert statement["Stmt"]["Ntry"]["NtryDtls"]["TxDtls"]["RmtInf"]["Ustrd"] == ["a", "b"]
    assert set(lines[0].columns["Document"]) == {"BkToCstmrStmt"}


def test_a_payment_stands_in_its_own_group(tmp_path):
    groups = [line.columns["Document"]["CstmrCdtTrfInitn"]["PmtInf"] for line in read(tmp_path, PAIN)]

    assert [(group["Dbtr"], group["CdtTrfTxInf"]["Id"]) for group in groups] == [("d1", "1"), ("d2", "2"), ("d2", "3")]


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("<a><h>x</h><r><i>1</i></r><r><i>2</i></r></a>", [{"h": "x", "r": {"i": "1"}}, {"h": "x", "r": {"i": "2"}}]),
        ("<a><r i='1'/><s i='2'/><r i='3'/></a>", [{"r": {"@i": "1"}}, {"s": {"@i": "2"}}, {"r": {"@i": "3"}}]),
        ("<a><i>1</i><b>&lt;x&gt; <![CDATA[&y]]></b><c/></a>", [{"i": "1", "b": "<x> &y"}]),
    ],
)
def test_plain_xml_is_a_line_for_each_repeated_element(tmp_path, text, columns):
    assert [line.columns["a"] for line in read(tmp_path, text)] == columns


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('<!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>', "declares entities"),
        ('<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>', "declares entities"),
        ('<!DOCTYPE a [<!ATTLIST b c CDATA "many">]><a><b/><b/></a>', "declares entities or attributes"),
        ('<!DOCTYPE a SYSTEM "a.dtd"><a><b>M&uuml;ller</b></a>', "declares entities"),
        ('<?xml version="1.0" encoding="Shift_JIS"?><a><b>1</b></a>', "is not XML"),
        (f'<a><b c="1"/><b c="2"/>{" " * 1_100_000}{"<n>x</n>" * 2_000}<b c="3"/></a>', "too much around"),
        ("<a><b></a>", "is not XML: mismatched tag"),
        ("id,at", "is not XML"),
        ("<a>" * 1_000, "nested too deep"),
    ],
)
def test_what_is_refused(tmp_path, text, words):
    with pytest.raises(UsageError, match=words):
        read(tmp_path, text)


def test_a_record_that_is_too_long_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(xml, "LINE_BYTES_MAX", 2 << 20)
    text = '<a><b c="1"/><b c="2"/>{}<b c="{}"/></a>'

    with pytest.raises(UsageError, match="too long"):
        read(tmp_path, text.format(" " * 1_100_000, "x" * 3_300_000))
    read(tmp_path, text.format(" " * 1_100_000, "x" * 800_000))


def test_what_stands_behind_a_record_is_not_in_it(tmp_path):
    text = '<d><n>a</n><n>b</n><r i="1"/><r i="2"/><n>c</n><r i="3"/></d>'

    assert [line.columns["d"]["n"] for line in read(tmp_path, text)] == [["a", "b"], ["a", "b"], ["a", "b", "c"]]


def test_the_memory_is_that_of_a_record(tmp_path):
    path = tmp_path / "a.xml"
    path.write_text(CAMT.format("".join(ENTRY.format(n=n) for n in range(8_000))))  # 1.7 MB
    tracemalloc.start()
    with read_lines(path) as lines:
        assert sum(1 for _ in lines) == 8_000
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert most < 3 << 20


def test_a_statement_is_proposed_and_taken_by_the_mapping_of_json(tmp_path):
    path = tmp_path / "march.xml"
    path.write_text(CAMT.format("".join(ENTRY.format(n=n) for n in range(1, 6))))
    project, _, _ = app.propose_project(tmp_path / "p", path)
    report = project.ingest([path])

    assert (report.events.appended, report.events.quarantined) == (5, 0)
    assert [str(amount) for amount in project.events("payment")["amt"].to_pylist()] == [f"{n}.50" for n in range(1, 6)]


MAPPING = """payment:
  id: id
  time: at
  fields: {id: text, at: time, note: text?}
  from: {json: {MAPPED}}
"""
NTRY = "row.Document.BkToCstmrStmt.Stmt.Ntry"
OF_ENTRY = (
    f"each: {NTRY}.NtryDtls.TxDtls, id: item.Refs.EndToEndId, at: {NTRY}.BookgDt.Dt, note: 'item.RmtInf.Ustrd[0]'"
)
TRANSACTION = "<TxDtls><Refs><EndToEndId>{}</EndToEndId></Refs><RmtInf><Ustrd>n{}</Ustrd></RmtInf></TxDtls>"
OF_ITEM = "each: row.list.one, id: item.id, at: row.list.at, note: 'item.part[0].no'"
OF_RECORD = "id: row.list.one.id, at: row.list.at, note: 'row.list.one.part[0].no'"


def project_of(tmp_path, mapped):
    folder = tmp_path / "p"
    folder.mkdir()
    (folder / "shroff.yaml").write_text(SETTINGS)
    (folder / "events.yaml").write_text(MAPPING.replace("MAPPED", mapped))
    return app.open(folder)


def taken(project, path, text):
    path.write_text(text)
    report = project.ingest([path], as_type="payment")
    assert report.events.quarantined == 0
    return [(row["id"], row["note"]) for row in project.events("payment").to_pylist()] if report.events.appended else []


@pytest.mark.parametrize("counts", [(0,), (1,), (2,), (5,), (), (1, 3), (3, 0, 1)])
def test_an_entry_has_an_event_for_each_of_its_transactions(tmp_path, counts):
    numbers = iter(range(100))
    entries = [
        f"<Ntry><BookgDt><Dt>2026-03-01T00:00:00Z</Dt></BookgDt><NtryDtls>"
        f"{''.join(TRANSACTION.format(n, n) for n, _ in zip(numbers, range(count), strict=False))}</NtryDtls></Ntry>"
        for count in counts
    ]
    project = project_of(tmp_path, OF_ENTRY)
    events = taken(project, tmp_path / "a.xml", CAMT.format("".join(entries)))

    assert len(events) == sum(counts)
    assert [note for _, note in events] == [f"n{id_}" for id_, _ in events]


@pytest.mark.parametrize("mapped", [OF_ITEM, OF_RECORD])
@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("parts", [1, 2])
def test_a_plain_list_has_an_event_for_each_element(tmp_path, mapped, count, parts):
    elements = [
        f"<one><id>{n}</id>{''.join(f'<part><no>{n}.{at}</no></part>' for at in range(parts))}</one>"
        for n in range(count)
    ]
    text = f"<list><at>2026-03-01T00:00:00Z</at>{''.join(elements)}</list>"

    assert taken(project_of(tmp_path, mapped), tmp_path / "a.xml", text) == [(str(n), f"{n}.0") for n in range(count)]


def test_a_list_without_elements_has_no_event(tmp_path):
    assert taken(project_of(tmp_path, OF_ITEM), tmp_path / "a.xml", "<list><at>2026-03-01</at></list>") == []


def test_a_statement_without_entries_has_no_line(tmp_path):
    mapped = f"id: {NTRY}.Id, at: {NTRY}.BookgDt.Dt"

    assert taken(project_of(tmp_path, mapped), tmp_path / "a.xml", CAMT.format("")) == []


def test_elements_of_each_that_stand_in_several_outer_ones_are_one_list(tmp_path):
    entry = f"<NtryDtls>{TRANSACTION.format(1, 1)}</NtryDtls>"
    text = f"<Ntry><BookgDt><Dt>2026-03-01T00:00:00Z</Dt></BookgDt>{entry}{entry.replace('1', '2')}</Ntry>"
    project = project_of(tmp_path, OF_ENTRY)

    assert taken(project, tmp_path / "a.xml", CAMT.format(text)) == [("1", "n1"), ("2", "n2")]


def test_the_first_outer_element_keeps_what_stands_beside_the_elements_of_each(tmp_path):
    details = [f"<NtryDtls><Btch><MsgId>m{n}</MsgId></Btch>{TRANSACTION.format(n, n)}</NtryDtls>" for n in (1, 2)]
    text = f"<Ntry><BookgDt><Dt>2026-03-01T00:00:00Z</Dt></BookgDt>{''.join(details)}</Ntry>"
    project = project_of(tmp_path, OF_ENTRY.replace("item.RmtInf.Ustrd[0]", f"{NTRY}.NtryDtls.Btch.MsgId"))

    assert taken(project, tmp_path / "a.xml", CAMT.format(text)) == [("1", "m1"), ("2", "m1")]
    (tmp_path / "other").mkdir()
    project = project_of(tmp_path / "other", OF_ENTRY.replace("item.RmtInf.Ustrd[0]", f"{NTRY}.NtryDtls[0].Btch.MsgId"))
    with pytest.raises(UsageError, match="Read it without a number"):
        project.ingest([tmp_path / "a.xml"])


@pytest.mark.parametrize(
    ("paths", "words"),
    [
        (
            [("a", "b", "c"), ("a", "b", 0, "c")],
            "a.xml: row.a.b.c would be missing, .* row.a.b in two ways. Read it with a",
        ),
        ([("a", "b", "c", ITEM, "d"), ("a", "b", 0, "e")], "row.a.b.0.e would be missing, .* Read it without a number"),
        ([("a", "b", "c"), ("a", "d", 0, "c"), ("a", "d")], ""),
        ([("a", "b", "c", ITEM, "d"), ("a", "b", "e")], ""),
    ],
)
def test_an_element_that_is_read_with_and_without_a_number_is_refused(tmp_path, paths, words):
    (tmp_path / "a.xml").write_text("<a><b><c><d>1</d></c></b></a>")
    with read_lines(tmp_path / "a.xml") as lines, pytest.raises(UsageError, match=words) if words else nullcontext():
        lines.read_for(frozenset(paths))
