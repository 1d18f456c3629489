"""Disputes: stages are labels known from a moment on, and evidence is that of Visa's Compelling Evidence 3.0."""

from __future__ import annotations

import json
import os
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from pyarrow import table
from pyarrow.parquet import write_table

import shroff
from shroff.errors import UsageError
from shroff.events.event import time_text
from shroff.services.disputes.operations import DisputeInput, ImportDisputes, ListDisputes, PackDisputes
from tests.support.webs import Asker, Browser, run

PAID = datetime(2026, 3, 1, 12, tzinfo=UTC)
FILES = {
    "shroff.yaml": "shroff: 1\nname: shop\nmoney: EUR\nlateness: 900d\n",
    "events.yaml": """
payment:
  id: id
  time: paid_at
  decide: true
  fields:
    id: text
    paid_at: time
    card: text
    fee: money?
    amount: money
    device: text?
    ip: text?
    parcel_address: text?
    login: text?
    bad: boolean?
  summary: [amount]
label:
  from:
    json: { when: row.kind == 'webhook', event: row.about }
entities:
  card: { payment: card }
""",
    "rules/bad.yaml": """
- id: bad
  on: payment
  by: card
  when: payment.bad
  reason: "known to be bad, card {payment.card}"
  effect: decline
""",
}
VALUES = {
    "d": ("device", "355998087654324"),
    "i": ("ip", "10.1.2.3"),
    "a": ("parcel_address", "1 High Street"),
    "l": ("login", "ann"),
}
# Days before the disputed payment and the elements that are equal there: device, IP address, address, login. Behind
# them: `-` declined, `f` labeled fraud, `c` disputed too, `o` another card, `0` for nothing, `u` spelled otherwise.
TRUTH = (
    # what the disputed payment has, its network and code, earlier payments, eligible
    ("dial", "visa 10.4", "130 di, 200 di", True),
    ("dial", "visa 10.4", "130 da, 200 da", True),
    ("dial", "visa 10.4", "130 dl, 200 dl", True),
    ("dial", "visa 10.4", "130 ia, 200 ia", True),
    ("dial", "visa 10.4", "130 il, 200 il", True),
    ("dial", "visa 10.4", "130 dial, 200 dial", True),
    ("dial", "visa 10.4", "130 al, 200 al", False),  # neither device nor IP address
    ("dial", "visa 10.4", "130 d, 200 d", False),  # one element
    ("dial", "visa 10.4", "130 i, 200 i", False),
    ("dial", "visa 10.4", "130 a, 200 a", False),
    ("dial", "visa 10.4", "130 l, 200 l", False),
    ("dial", "visa 10.4", "130, 200", False),
    ("dial", "visa 10.4", "130 di", False),  # one payment
    ("dial", "visa 10.4", "", False),
    ("dial", "visa 10.4", "130 di, 200 al", False),  # not the same elements
    ("dial", "visa 10.4", "130 da, 200 dl", False),
    ("dial", "visa 10.4", "130 da, 200 ia", False),
    ("dial", "visa 10.4", "130 dia, 200 ial", True),  # IP address and parcel address are in both
    ("dial", "visa 10.4", "130 dal, 200 al, 300 al", False),
    ("dial", "visa 10.4", "130 da, 200 dl, 300 dal", True),
    ("dial", "visa 10.4", "130 da, 200 il, 300 dil", True),
    ("dial", "visa 10.4", "120 di, 365 di", True),
    ("dial", "visa 10.4", "119 di, 200 di", False),
    ("dial", "visa 10.4", "120 di, 366 di", False),
    ("dial", "visa 10.4", "119 di, 366 di", False),
    ("dial", "visa 10.4", "120 di, 121 di", True),
    ("dial", "visa 10.4", "364 di, 365 di", True),
    ("dial", "visa 10.4", "1 di, 5 di, 30 di, 90 di", False),
    ("dial", "visa 10.4", "10 di, 150 di, 400 di", False),
    ("dial", "visa 10.4", "10 di, 150 di, 151 di, 400 di", True),
    ("dial", "visa 10.4", "130 di f, 200 di", False),
    ("dial", "visa 10.4", "130 di c, 200 di", False),
    ("dial", "visa 10.4", "130 di -, 200 di", False),
    ("dial", "visa 10.4", "130 di o, 200 di", False),
    ("dial", "visa 10.4", "130 di 0, 200 di", False),
    ("dial", "visa 10.4", "130 di f, 200 di, 300 di", True),
    ("dial", "visa 10.4", "130 di c, 200 di, 300 di", True),
    ("dial", "visa 10.4", "130 di o, 200 di, 300 di", True),
    ("dial", "visa 10.4", "130 da u, 200 da", True),  # the same address, in other letters
    ("di", "visa 10.4", "130 dial, 200 dial", True),
    ("d", "visa 10.4", "130 dial, 200 dial", False),
    ("al", "visa 10.4", "130 dial, 200 dial", False),
    ("il", "visa 10.4", "130 dia, 200 dia", False),
    ("dl", "visa 10.4", "130 dl, 200 dl", True),
    ("", "visa 10.4", "130 dial, 200 dial", False),
    ("dial", "mastercard 4837", "130 di, 200 di", False),
    ("dial", "visa 13.1", "130 di, 200 di", False),
    ("dial", "visa 10.5", "130 di, 200 di", False),
    ("dial", "VISA 10.4", "130 di, 200 di", True),
    ("dial", " ", "130 di, 200 di", True),  # not said: judged by the payments
)
VARIANTS = 4  # of each row: with other hours of the day and amounts


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> shroff.Project:
    """Two hundred disputed payments with their earlier ones."""
    folder = tmp_path_factory.mktemp("disputes")
    for name, text in FILES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    payments, labels, disputes = [], [], ["event,stage,known_at,due,network,code"]
    for number in range(len(TRUTH) * VARIANTS):
        own, scheme, earlier, _ = TRUTH[number % len(TRUTH)]
        network, _, code = scheme.partition(" ")
        id_, hour = f"p{number}", 7 * (number // len(TRUTH))
        disputes.append(
            f"payment/{id_},dispute,2026-03-20T10:00:00Z,2026-04-{1 + number % 28:02}T00:00:00Z,{network},{code}"
        )
        payments.append(paid(number, id_, timedelta(0), own))
        for at, words in enumerate(filter(None, earlier.split(", "))):
            days, _, rest = words.partition(" ")
            shared, _, mark = rest.partition(" ")
            prior = paid(number, f"{id_}.{at}", timedelta(int(days), seconds=-3600 * (hour - 12)), shared)
            prior |= {"-": {"bad": True}, "o": {"card": "other"}, "0": {"amount": "0"}}.get(mark, {})
            prior |= {"parcel_address": "1  HIGH street"} if mark == "u" else {}
            payments.append(prior)
            if mark == "f":
                labels.append({"event": f"payment/{id_}.{at}", "verdict": "fraud", "known_at": "2026-03-02"})
            if mark == "c":
                disputes.append(f"payment/{id_}.{at},withdrawn,2026-03-20T10:00:00Z,,visa,10.4")
    project = shroff.open(folder)
    answers = project.decide(sorted(payments, key=lambda payment: payment["paid_at"]))
    assert not [answer for answer in answers if not hasattr(answer, "outcome")]
    assert project.labelling.add_rows(labels, "answers").labels.appended == len(labels)
    (folder / "disputes.csv").write_text("\n".join(disputes) + "\n")
    return project


def paid(number: int, id_: str, before: timedelta, has: str) -> dict[str, object]:
    at = (PAID - before).isoformat()
    values = dict(VALUES[letter] for letter in has)
    return {
        "id": id_,
        "paid_at": at,
        "card": f"411111111111{number:04}",
        "fee": "0",
        "amount": f"{20 + number}.50",
        **values,
    }


@pytest.mark.slow
def test_200_disputes_are_eligible_or_not_as_written_by_hand(project, tmp_path):
    file = str(project.context.paths.folder / "disputes.csv")
    read = project.run(ImportDisputes(file=file))
    again = project.run(ImportDisputes(file=file))
    everything = project.run(ListDisputes(is_open=True)).disputes
    listed = {row.event: row for row in everything}
    part = project.run(ListDisputes(is_open=True, limit=150))
    rest = project.run(ListDisputes(is_open=True, limit=150, cursor=part.next))
    assert part.text().startswith(f"{part.count:,} disputes, {part.late:,} late, 150 of them on this page.")
    assert ([*part.disputes, *rest.disputes], part.count, rest.count, rest.next) == (everything, 200, 200, None)
    wrong = [
        (number, row.why)
        for number in range(len(TRUTH) * VARIANTS)
        if (row := listed[f"payment/p{number}"]).eligible != TRUTH[number % len(TRUTH)][3]
    ]

    assert (wrong, len(listed)) == ([], 200)
    assert (read.appended, again.appended, again.duplicates) == (read.read, 0, read.read)
    assert [row.due for row in listed.values()] == sorted(row.due for row in listed.values())

    packs = [tmp_path / "one", tmp_path / "two"]
    made = [project.run(PackDisputes(out=str(folder))).disputes for folder in packs]
    texts = [{path.name: path.read_bytes() for path in folder.iterdir()} for folder in packs]

    assert len(made[0]) == 200
    assert len(texts[0]) == 400
    assert texts[0] == texts[1]
    assert not [name for name, text in texts[0].items() if b"411111111111" in text]
    pack = json.loads(texts[0]["payment-p5.json"])
    assert pack["buyer"] == {"device": "355998087654324", "ip": "10.1.2.3", "address": "1 High Street", "login": "ann"}
    assert pack["payment"]["card"] == "···0005"
    assert pack["decision"]["receipt"].startswith("sha256:")
    prior = pack["compelling_evidence_3"]["payments"]
    assert [(payment["event"], payment["days"]) for payment in prior] == [("payment/p5.0", 130), ("payment/p5.1", 200)]


def test_a_won_dispute_turns_the_label_and_what_was_known_before_stays(tmp_path):
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    project = shroff.open(tmp_path)
    project.decide([paid(1, "p1", timedelta(0), "di")])
    stages = [("early_fraud_warning", 3), ("dispute", 5), ("represented", 9), ("won", 40)]
    known, before, lines = [], [], ["event,stage,known_at"]
    for stage, days in stages:
        at = (PAID + timedelta(days)).isoformat()
        lines = ["event,stage,known_at,due", f"p1,{stage},{at.removesuffix('+00:00')},2026-09-01 10:00:00"]
        (tmp_path / "stage.csv").write_text("\n".join(lines))
        file = tmp_path / ("stage.parquet" if stage == "won" else "stage.csv")
        columns = {"event": ["p1"], "stage": [stage], "amount": [Decimal("21.50")]}
        columns |= {"known_at": [PAID + timedelta(days)], "due": [datetime(2026, 9, 1, 10)]}  # noqa: DTZ001 (as files have it)
        write_table(table(columns), tmp_path / "stage.parquet")
        row = project.run(ImportDisputes(file=str(file))).disputes[0]
        known.append((row.stage, row.verdict))
        assert row.known_at == time_text(int((PAID + timedelta(days)).timestamp()) * 1_000)
        assert row.due == "2026-09-01T10:00:00Z"
        before.append(in_force(project, at))

    assert known == [(stage, "genuine" if stage == "won" else "fraud") for stage, _ in stages]
    assert before == [{"fraud"}, {"fraud"}, {"fraud"}, {"genuine"}]
    assert [in_force(project, (PAID + timedelta(days)).isoformat()) for _, days in stages] == before
    assert project.run(ListDisputes(as_of=(PAID + timedelta(10)).isoformat())).disputes[0].stage == "represented"
    assert project.run(ListDisputes(is_open=True)).disputes == []


@pytest.mark.slow
def test_the_screen_lists_disputes_by_due_date_with_their_case_and_pack_and_settings_name_fields(tmp_path, monkeypatch):
    texts = {name: text.replace("device:", "gadget:").replace("ip:", "origin:") for name, text in FILES.items()}
    texts["shroff.yaml"] += "cases: { outcomes: [decline], evidence: { device: gadget, ip: origin } }\n"
    for name, text in texts.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    project = shroff.open(tmp_path)
    priors = [paid(1, f"p1.{days}", timedelta(days), "di") for days in (200, 130)]
    sent = [*priors, paid(1, "p1", timedelta(0), "di") | {"bad": True}, paid(2, "p2", timedelta(0), "di")]
    for payment in sent:
        payment |= {"gadget": payment.pop("device"), "origin": payment.pop("ip")}
    project.decide(sent)
    stages = tuple(
        DisputeInput(event=f"payment/{id_}", stage="dispute", known_at="2026-03-20", due=due, amount="21.50")
        for id_, due in (("p1", "2099-04-09"), ("p2", "2026-04-09"))
    )
    project.run(ImportDisputes(disputes=stages))
    with project.cases.open() as desk, desk.store.look() as look:
        assert [alert.case for alert in look.alerts_of([("payment", "p1")])] == [1]

    async def steps(_asks: Asker, browser: Browser) -> None:
        page = (await browser.get("/disputes")).body.decode()
        late = (await browser.get("/disputes?due=0s")).body.decode()
        pack = await browser.get("/disputes/payment/p1/pack")

        assert re.findall(r'href="/decisions/payment/(\w+)"', page) == ["p2", "p1"]
        assert re.findall(r'href="/decisions/payment/(\w+)"', late) == ["p2"]
        assert '2 open disputes, <b class="bad">1 past the due date</b>. Download the evidence' in page
        assert "21.50" in page
        assert "Two undisputed payments share device and ip." in page
        assert 'href="/cases/1"' in page
        assert pack.headers["content-disposition"] == "attachment; filename*=UTF-8''payment-p1.html"
        assert b"Prior payment payment/p1.130" in pack.body
        assert (await browser.get("/disputes?stage=wons")).status == 400
        monkeypatch.setattr("shroff.web.pages.cases.disputes.SHOWN", 1)
        page = (await browser.get("/disputes")).body.decode()
        assert '<b class="bad">1 past the due date</b>' in page, "in all pages"
        assert "0 of the 1 below" in page
        assert "1 of 2" in page
        link = re.search(r'href="([^"]*)" data-key="n"', page)[1].replace("&amp;", "&")
        more = (await browser.get(link)).body.decode()
        assert re.findall(r'href="/decisions/payment/(\w+)"', page + more) == ["p2", "p1"]
        assert "First page" in more
        assert 'data-key="n"' not in more
        assert '<a class="only-phone" href="/me">' in page

    run(tmp_path, steps)


def test_rows_of_a_program_are_labels_whatever_mapping_webhooks_have(tmp_path):
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    project = shroff.open(tmp_path)
    project.decide([paid(1, "p1", timedelta(0), "di")])

    report = project.label([{"event": "p1"}], "fraud", known_at=PAID.isoformat())

    assert (report.labels.read, report.labels.appended) == (1, 1)


def in_force(project, as_of: str) -> set[str]:
    """The verdicts in force at a moment, as training sets have them."""
    rows = project.labels(as_of=as_of).to_pylist()
    latest = max(row["known_at"] for row in rows)
    return {row["verdict"] for row in rows if row["known_at"] == latest}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("p1,wons,2026-03-02T00:00:00Z,", "wrong.csv:2: 'wons' is not a stage of a dispute. Did you mean won"),
        ("p1,,2026-03-02T00:00:00Z,", "wrong.csv:2: it has no stage"),
        ("p1,won,2026-03-02T00:00:00Z,soon", "wrong.csv:2: due"),
        ("p1,won,2026-03-02T00:00:00Z", "wrong.csv:2: has 3 columns"),
    ],
)
def test_a_wrong_line_is_refused_and_nothing_is_written(tmp_path, line, words):
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "wrong.csv").write_text(f"event,stage,known_at,due\n{line}\n")
    project = shroff.open(tmp_path)

    with pytest.raises(UsageError, match=words):
        project.run(ImportDisputes(file=str(tmp_path / "wrong.csv")))
    assert not project.log.exists()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match="is a pipe"):
        project.run(ImportDisputes(file=str(tmp_path / "pipe")))
