"""Messages of ISO 20022: a line for each transaction, and a recall for fraud is a label."""

from __future__ import annotations

from typing import Final

import pytest

from shroff.events.formats.encodings import read_lines
from shroff.services import project as app
from tests.public_cases import SETTINGS

MESSAGES: Final = {  # message: elements around its records, the record
    "pain.001.001.09": (["CstmrCdtTrfInitn", "PmtInf"], "CdtTrfTxInf"),
    "pain.008.001.08": (["CstmrDrctDbtInitn", "PmtInf"], "DrctDbtTxInf"),
    "pacs.004.001.09": (["PmtRtr"], "TxInf"),
    "pacs.008.001.08": (["FIToFICstmrCdtTrf"], "CdtTrfTxInf"),
    "camt.052.001.08": (["BkToCstmrAcctRpt", "Rpt"], "Ntry"),
    "camt.053.001.08": (["BkToCstmrStmt", "Stmt"], "Ntry"),
    "camt.054.001.08": (["BkToCstmrDbtCdtNtfctn", "Ntfctn"], "Ntry"),
    "camt.056.001.08": (["FIToFIPmtCxlReq", "Undrlyg"], "TxInf"),
}
EVENTS: Final = """payment:
  id: id
  time: at
  decide: true
  fields: {id: text, at: time}
label:
  from:
    json:
      when: row.Document.FIToFIPmtCxlReq.Undrlyg.TxInf.CxlRsnInf.Rsn.Cd == 'FRAD'
      event: row.Document.FIToFIPmtCxlReq.Undrlyg.TxInf.OrgnlTxId
      verdict: "'fraud' when row.Document.FIToFIPmtCxlReq.Undrlyg.TxInf.CxlRsnInf.Rsn.Cd == 'FRAD'"
      known_at: row.Document.FIToFIPmtCxlReq.Assgnmt.CreDtTm
"""


def message(kind: str, records: list[str], prefix: str = "") -> str:
    """A message with two references before its records, as a header has them."""
    around, name = MESSAGES[kind]
    before = "<GrpHdr><Ref>1</Ref><Ref>2</Ref></GrpHdr><Assgnmt><CreDtTm>2026-03-30T08:00:00Z</CreDtTm></Assgnmt>"
    text = "".join(f"<{name}>{record}</{name}>" for record in records)
    for at, outer in enumerate(reversed(around), 1):
        text = f"<{outer}>{before if at == len(around) else '<Id>7</Id>'}{text}</{outer}>"
    text = f"<Document>{text}</Document>"
    if prefix:
        text = text.replace("</", "\0").replace("<", f"<{prefix}:").replace("\0", f"</{prefix}:")
    declared = f"xmlns{prefix and ':'}{prefix}"
    return text.replace("Document>", f'Document {declared}="urn:iso:std:iso:20022:tech:xsd:{kind}">', 1)


@pytest.mark.parametrize("kind", MESSAGES)
@pytest.mark.parametrize(("count", "prefix"), [(0, ""), (1, "n"), (3, "")])
def test_a_transaction_is_a_line_with_its_header(tmp_path, kind, count, prefix):
    records = [
        f'<EndToEndId>E{n}</EndToEndId><Amt Ccy="EUR">{n}.50</Amt><Rsn>a</Rsn><Rsn>b</Rsn>' for n in range(count)
    ]
    path = tmp_path / "a.xml"
    path.write_text(message(kind, records, prefix))
    around, name = MESSAGES[kind]
    header = f"row.Document.{around[0]}.GrpHdr.Ref"
    ways = (tuple(f"{header}"[4:].split(".")), ("Document", *around, name, "EndToEndId"))
    with read_lines(path) as opened:
        lines = [line.columns for line in opened.read_for(ways)]

    assert len(lines) == count
    for number, line in enumerate(lines):
        value = line["Document"]
        assert value[around[0]]["GrpHdr"]["Ref"] == ["1", "2"]
        for outer in (*around, name):
            value = value[outer]
        assert value["EndToEndId"] == f"E{number}"
        assert value["Amt"] == {"@Ccy": "EUR", "#text": f"{number}.50"}


def test_a_recall_for_fraud_is_a_label(tmp_path):
    folder = tmp_path / "p"
    folder.mkdir()
    (folder / "shroff.yaml").write_text(SETTINGS)
    (folder / "events.yaml").write_text(EVENTS)
    project = app.open(folder)
    recalls = [
        f"<OrgnlTxId>{id_}</OrgnlTxId><CxlRsnInf><Rsn><Cd>{code}</Cd></Rsn></CxlRsnInf>"
        for id_, code in (("t1", "FRAD"), ("t2", "DUPL"), ("t3", "FRAD"))
    ]
    (tmp_path / "recalls.xml").write_text(message("camt.056.001.08", recalls))
    (tmp_path / "paid.jsonl").write_text('{"id": "t1", "at": "2026-03-01T08:00:00Z"}\n')
    project.ingest([tmp_path / "paid.jsonl"], as_type="payment")
    report = project.ingest([tmp_path / "recalls.xml"], as_type="label")

    assert (report.labels.appended, report.labels.pending, report.labels.quarantined) == (1, 1, 0)
