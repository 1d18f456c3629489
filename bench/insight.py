"""Results: how long the screen takes in a long log, and whether its estimates and sums are true of the synthetic bank.

The log has the payments and labels of one synthetic bank by the template `payments`, one approval in a hundred sampled.
The service runs alone on one core; times are what it says in `Server-Timing`. Before each load of the second series a
payment is decided, so that nothing is as it was at the load before.

    python -m bench.insight [--events 1000000] [--project FOLDER] [--loads 50] [--seeds 30] [--scratch FOLDER] [--keep]
"""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import datetime
from functools import partial
from pathlib import Path

import msgspec
import numpy as np

from bench.machine import describe, write_result
from bench.pages import TEMPLATE, Times, parser, prepare, project_of, signed_in, timed, times_table
from bench.service import SHROFF, running
from shroff.cases.labels import LabelHistory, LabelSaid, maturity_in
from shroff.examples.bank import BankLabel, Payment, bank, known_at_the_end, with_labels
from shroff.language.values import DAY_MS, in_share
from shroff.runtime.values import replace
from shroff.services import project as app
from shroff.services.results.figures import DecidedEvents, final_fraud, missed_fraud, period_codes
from shroff.services.results.operations import ShowResults
from shroff.training.sets.labels import FRAUD_LABEL, GENUINE_LABEL, NO_LABEL

SAMPLE = "  sample: { share: 1%, seed: a seed that nobody guesses }\n"
ASKED_MS = 200.0
PAYMENTS = 40_000  # of each bank of estimates
ANSWERED, SHARE = 0.9, 0.25  # of the sample; and of approvals that are in it


# ---- the screen


def make(folder: Path, events: int) -> None:
    """A bank with so many decisions, and the labels that are known at its end."""
    shutil.copytree(TEMPLATE, folder)
    policy, encode = folder / "policy.yaml", msgspec.json.Encoder().encode
    policy.write_text(policy.read_text(encoding="utf-8") + SAMPLE, encoding="utf-8")
    payments, labels = folder.parent / "payments.jsonl", folder.parent / "labels.jsonl"
    with payments.open("wb") as paid, labels.open("wb") as said:
        for item in known_at_the_end(with_labels(bank(events, seed=2), seed=2), events):
            (paid if isinstance(item, Payment) else said).write(encode(item.event) + b"\n")
    project = app.open_exactly(folder)
    project.ingest([payments], as_type="payment")
    subprocess.run([str(SHROFF), "-C", str(folder), "label", str(labels)], check=True)


def loads(folder: Path, count: int) -> list[Times]:
    """The times of the screen: by each kind of row, of a log that rests and of one that grows."""
    password, found = prepare(folder), list[Times]()
    paths = ("", "by=day", "by=month", "by=channel", "by=country", "by=rule", "in=count&from=2026-02-01&to=2026-02-28")
    with running([str(SHROFF), "-C", str(folder), "serve", "--port", "0"], 0) as port:
        url = f"http://127.0.0.1:{port}"
        with closing(signed_in(url, password)) as client:
            csrf = client.get("/results").text.partition('name="csrf" content="')[2].partition('"')[0]
            first = [timed(client, f"first, {path or 'by week'}", iter([f"/results?{path}"]))[0] for path in paths]

            def growing() -> Iterator[str]:
                for number in range(count):
                    body = {**next(bank(1, seed=9)).event, "payment_id": f"b-{number}", "paid_at": LATER}
                    sent = client.post("/api/v1/events/payment", json=body, headers={"x-csrf-token": csrf})
                    if sent.status_code >= 300:
                        raise SystemExit(f"a payment was answered by {sent.status_code}: {sent.text}")
                    yield f"/results?{paths[number % len(paths)]}"

            rests = iter([f"/results?{paths[number % len(paths)]}" for number in range(count)])
            found += [timed(client, "a log that rests", rests)[0], timed(client, "a log that grows", growing())[0]]
            fraud = ["/decisions?outcome=all&label=fraud&day=2026-02-01&last=2026-02-28&zone=UTC"] * min(count, 20)
            found.append(timed(client, "decisions behind fraud", iter(fraud))[0])
    return [*first, *found]


LATER = "2026-03-02T14:00:00Z"  # behind the last payment of a million

# ---- sums


def differences(folder: Path, as_of: str) -> tuple[int, list[str]]:
    """How many sums were compared with SQL over the export, and those that differ."""
    found = app.open_exactly(folder).run(ShowResults(by="channel", zone="UTC", as_of=as_of))
    base = sqlite3.connect(":memory:")
    base.create_function("cents", 1, lambda text: int(str(text).replace(".", "")))
    for name, columns in (("decisions", "id outcome"), ("events", "id fields"), ("labels", "event verdict source")):
        named = columns.split() + (["known_at", "seq"] if name == "labels" else [])
        base.execute(f"create table {name} ({', '.join(named)})")
        command = [str(SHROFF), "-C", str(folder), "export", name, "--format", "jsonl"]
        command += [] if name == "decisions" else ["--as-of", as_of]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            rows = (_exported(name, msgspec.json.decode(line), named) for line in process.stdout)
            base.executemany(f"insert into {name} values ({', '.join('?' * len(named))})", rows)
    base.execute(FORCE)
    base.execute(JOINED)
    assert found.total is not None
    compared, wrong = 0, []
    for row in [*found.rows, found.total]:
        where = "1" if row is found.total else f"channel = '{row.value}'"
        for name, condition in SUMS.items():
            query = f"select count(*), coalesce(sum(amount), 0) from joined where {where} and {condition}"
            (count, cents), own = base.execute(query).fetchone(), msgspec.to_builtins(row)
            money = row.volume if name == "events" else row.fraud.money if name == "fraud" else own["money"][name]
            number = row.fraud.count if name == "fraud" else own[name]
            compared += 2
            if (count, cents) != (number, int(money.replace(".", ""))):
                wrong.append(f"{where}, {name}: {count}, {cents} by SQL; {number}, {money}")
    return compared, wrong


def _exported(name: str, document: dict[str, object], columns: Sequence[str]) -> list[object]:
    if name == "events":  # as they were sent
        sent: dict[str, object] = msgspec.convert(document["payment"], dict[str, object])
        return [sent["payment_id"], msgspec.json.encode(sent).decode()]
    return [document.get(column) for column in columns]


# A stronger source first, of one source the later label.
FORCE = """create table force as select event, verdict from (select *, row_number() over (partition by event order by
case source when 'chargeback' then 0 when 'analyst' then 1 when 'customer' then 2 else 3 end, known_at desc, rowid desc)
as place from labels) where place = 1"""
JOINED = """create table joined as select outcome, verdict, cents(json_extract(fields, '$.amount')) as amount,
json_extract(fields, '$.channel') as channel from decisions join events using (id)
left join force on force.event = 'payment/' || id"""
SUMS = {
    "events": "1",
    "approved": "outcome = 'approve'",
    "challenged": "outcome = 'challenge'",
    "reviewed": "outcome = 'review'",
    "declined": "outcome = 'decline'",
    "fraud": "verdict = 'fraud'",
    "caught": "verdict = 'fraud' and outcome <> 'approve'",
    "missed": "verdict = 'fraud' and outcome = 'approve'",
    "false_declines": "verdict = 'genuine' and outcome = 'decline'",
}


# ---- estimates


def known_of(seed: int, payments: int) -> tuple[DecidedEvents, list[tuple[float, float]], int, np.ndarray]:
    """A bank at its last payment: its events as labeled then, the maturity curve, now, and who will be a fraud."""
    items = list(with_labels(bank(payments, seed=seed), seed=seed))
    paid = [item.event for item in items if isinstance(item, Payment)]
    times = np.array([_ms(event["paid_at"]) for event in paid])
    amounts = np.array([int(event["amount"].replace(".", "")) for event in paid])
    rows = {f"payment/{event['payment_id']}": row for row, event in enumerate(paid)}
    now_ms, labels, final = int(times.max()), np.full(payments, NO_LABEL, np.int8), np.zeros(payments, np.bool_)
    histories = {}
    for number, item in enumerate(items):
        if not isinstance(item, BankLabel):
            continue
        row, known_ms, verdict = rows[item.event["event"]], _ms(item.event["known_at"]), item.event["verdict"]
        final[row] = verdict == "fraud"
        if known_ms <= now_ms:
            labels[row] = FRAUD_LABEL if verdict == "fraud" else GENUINE_LABEL
            said = LabelSaid(verdict, item.event["source"], known_ms, number, None)
            histories["payment", str(row)] = LabelHistory(int(times[row]), [said])
    nothing = np.zeros(payments, np.int64)
    events = DecidedEvents(times, amounts, nothing.astype(np.int8), labels, nothing - 1, [], np.arange(payments))
    return events, maturity_in(histories, now_ms).known_shares(), now_ms, final


def final_losses(seed: int, payments: int = PAYMENTS) -> list[bool]:
    """Whether the final loss of each week of a bank, and last that of all, lies in its 90 % interval."""
    events, shares, now_ms, final = known_of(seed, payments)
    start_ms = int(events.times_ms.min())
    count = (now_ms - start_ms) // (7 * DAY_MS) + 1
    weeks = period_codes(events, [start_ms + week * 7 * DAY_MS for week in range(count + 1)])
    true = np.bincount(weeks[final], events.amounts[final], count)
    found = final_fraud(events, weeks, count, now_ms, shares)
    ends = [pair or (0, 0) for pair in found]
    return [low <= total <= high for (low, high), total in zip(ends, [*true, true.sum()], strict=True)]


def missed_rates(seed: int, payments: int = PAYMENTS) -> bool:
    """Whether the rate of fraud by a sample lies in its interval, where analysts answer nine in ten sampled ones."""
    paid = list(bank(payments, seed=1))
    is_fraud = np.array([payment.fraud is not None for payment in paid])
    sampled = {
        row: SHARE
        for row, payment in enumerate(paid)
        if in_share(f"seed {seed} of a bank\x00payment", SHARE, payment.event["payment_id"])
    }
    seqs = np.random.default_rng(seed).permutation(np.array([*sampled]))[: int(ANSWERED * len(sampled))]
    labels = np.full(payments, NO_LABEL, np.int8)
    labels[seqs] = np.where(is_fraud[seqs], FRAUD_LABEL, GENUINE_LABEL)
    nothing = np.zeros(payments, np.int64)
    events = DecidedEvents(
        nothing, nothing + 100, nothing.astype(np.int8), labels, nothing, [], np.arange(payments), sampled=sampled
    )
    share = missed_fraud(replace(events, answered=seqs), 0, 1)[2]
    return bool(share.low <= is_fraud.mean() <= share.high)


def _ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1_000)


# ---- all together


def run(folder: Path, count: int, seeds: int, *, keep: bool) -> None:
    """Measure, print, and write the table."""
    with app.open_exactly(folder).log.reading() as log:
        places = log.last_seq()
    compared, wrong = differences(folder, "2026-03-02")
    losses = [final_losses(seed) for seed in range(seeds)]
    of_all, of_weeks = sum(found[-1] for found in losses), [item for found in losses for item in found[:-1]]
    rates = sum(missed_rates(seed) for seed in range(50))
    times = loads(folder, count)
    slow = [view for view in times if view.name.startswith("a log")]
    worst = max(item.quantile(0.95) for item in slow)
    sums = f"Sums compared with SQL over the export of decisions, events and labels, to the cent: {compared}; "
    final = (
        f"True final loss in its 90 % interval: {of_all} of {seeds} banks of {PAYMENTS:,} payments (asked 25 of 30), "
    )
    of_sample = (
        f"True rate of fraud in the interval of the sample: {rates} of 50 (asked 45); one fraud in ten is never "
    )
    parts = [
        f"# Results over {places:,} places of the log",
        (__doc__ or "").split("\n\n")[1].replace("\n", " "),
        times_table(times),
        f"p95 of the screen: {worst:.1f} ms (asked {ASKED_MS:.0f}). The first load after a start reads the log.",
        sums + f"different: {len(wrong)}. {'; '.join(wrong)}".strip(),
        final + f"and {sum(of_weeks)} of {len(of_weeks)} single weeks.",
        of_sample + f"reported, analysts answered {ANSWERED:.0%} of the sample.",
        describe(),
    ]
    text = "\n\n".join(parts) + "\n"
    if keep:
        write_result("insight", text)
    print(text)


def main() -> None:
    """Read the options."""
    options_of = parser(__doc__, "insight")
    options_of.add_argument("--events", type=int, default=1_000_000)
    options_of.add_argument("--loads", type=int, default=50)
    options_of.add_argument("--seeds", type=int, default=30)
    options = options_of.parse_args()
    with project_of(options, partial(make, events=options.events)) as folder:
        run(folder, options.loads, options.seeds, keep=options.keep)


if __name__ == "__main__":
    main()
