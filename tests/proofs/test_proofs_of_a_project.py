"""Proofs of a project: what they show and hide, and the program and the page that check them."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

import shroff
from shroff.cli.main import run
from shroff.models.registry import Registry
from shroff.services.decisions.operations import ProveDecision
from tests.proofs.test_law_of_proofs import VERIFIER, said
from tests.support.projects import write_files
from tests.support.trained import train

EVENTS = """
payment:
  id: id
  time: at
  decide: true
  fields:
    id: text
    at: time
    card: text hashed
    amount: money
    ip: text?
    bin: text?
    site: text?
    email: text? personal
    name: text personal
tables:
  bins: { bin: prefix, country: text, limit: money }
  nets: { net: network, zone: text }
  sites: { site: suffix, kind: text }
  rates: { country: text, from: valid_from, rate: number(4) }
entities:
  card: { payment: card }
  site: { payment: site }
"""
FEATURES = """
card:
  count_1h: count(payment) over 1h including this
  cards: distinct(payment.card) over 1h
  last_card: last(payment.card)
  late: hour(this.at, 'Europe/Berlin')
  country: tables.bins[this.bin].country
  limit: tables.bins[this.bin].limit
  zone: tables.nets[this.ip].zone
  kind: tables.sites[this.site].kind
  rate: tables.rates[card.country].rate
  near: name_similarity('Ann Meier', 'Meyer Anne') + similarity('Straße', 'STRASSE')
  words: join(upper(this.site), ':', length(trim(' a ')), ':', text(round(2.675, 2)), ':', subnet(this.ip, 24))
  far: distance(52.52, 13.405, 48.8566, 2.3522)
  bits: entropy('aab')
  real: log(10) + exp(1) + power(2, 0.5) + speed(1000, 90s)
site:
  cards: distinct(payment.card) over 1h including this
"""
RULES = """
- { id: blocked, on: payment, by: card, when: this.card in lists.blocked, effect: decline }
- id: matrix
  on: payment
  by: card
  table: |
    row   | this.amount        | card.count_1h | effect
    small | <= 2 and > 0       | > 1           | challenge
    large | > 100              |               | review
    other |                    | >= 3          | review
  tests:
    - { name: a, events: [{ payment: { card: secret-of-a-test, at: 2026-03-01T10:00:00Z, amount: 1 } }], hits: [false] }
- id: points
  on: payment
  by: card
  scorecard: |
    points | when
    20     | this.amount > 10
    15     | card.zone == 'office'
  bands: |
    points | effect
    >= 35  | review
    >= 20  | note
"""
CARDS = [f"411111111111{number:04}" for number in range(3)]
FILES = {
    "shroff.yaml": "shroff: 1\nname: proven\nmoney: EUR\n",
    "events.yaml": EVENTS,
    "features.yaml": FEATURES,
    "rules/all.yaml": RULES,
    "lists/blocked.csv": f"value\n{CARDS[1]}\n4999999999999999\n",
    "tables/bins.csv": "bin,country,limit\n41,DE,10.00\n4111,FR,20.00\n550000-550010,IT,\n",
    "tables/nets.csv": "net,zone\n192.0.2.0/24,office\n2001:db8::/32,six\n",
    "tables/sites.csv": "site,kind\nexample.com,shop\n",
    "tables/rates.csv": "country,valid_from,rate\nFR,2026-01-01,1.5\nFR,2026-03-01T12:03:00Z,2\nDE,2027-01-01,3\n",
}
PEOPLE = ("Ann Secret", "ann.secret@example.org")
ROWS = [
    {
        "id": f"p{number}",
        "at": f"2026-03-01T12:0{number}:00Z",
        "card": CARDS[number % 3],
        "amount": ("1.50", "200.00", "50.00")[number // 3],
        "ip": ("192.0.2.7", "::ffff:192.0.2.9", "2001:db8::1", "none")[number % 4],
        "bin": ("411111", "412", "550007", "9")[number % 4],
        "site": ("shop.example.com", "badexample.com")[number % 2],
        "name": PEOPLE[0],
        "email": PEOPLE[1],
    }
    for number in range(9)
]


@pytest.fixture(scope="module")
def bank(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("proofs") / "bank"
    write_files(folder, FILES)
    shroff.open(folder).decide(ROWS, as_type="payment")
    return folder


@pytest.fixture(scope="module")
def proofs(bank: Path) -> dict[str, str]:
    project = shroff.open(bank)
    return {f"p{number}": project.run(request(f"payment/p{number}")).text() + "\n" for number in range(9)}


def request(reference: str) -> ProveDecision:
    return ProveDecision(reference=reference)


def test_each_decision_is_recomputed(bank: Path, proofs: dict[str, str], tmp_path: Path):
    answers = said(tmp_path, proofs)
    outcomes = {name: answer.split()[2] for name, answer in answers.items()}

    assert {name: answer for name, answer in answers.items() if not answer.startswith("agreed: payment/")} == {}
    assert set(outcomes.values()) >= {"approve", "review", "decline"}


def test_scores_of_a_model_are_recomputed(bank: Path, tmp_path: Path):
    folder = tmp_path / "scored"
    policy = "payment:\n  score: { review_at: 0.4, decline_at: 0.6 }\n"
    stored = train(
        Registry(folder / "models"),
        "m-1",
        ("payment.amount", "card.count_1h", "payment.site", "site.cards"),
        categories={"payment.site": ("shop.example.com", "other")},
        calibration={"kind": "platt", "slope": 0.9, "intercept": 0.1},
        negatives_kept=0.5,
    )
    named = {"payment": {"champion": {"id": "m-1", "digest": stored.digest}}}
    write_files(folder, {**FILES, "policy.yaml": policy, "models/in_force.json": json.dumps(named)})
    project = shroff.open(folder)
    answers = project.decide(ROWS, as_type="payment")
    files = {f"p{number}": project.run(request(f"payment/p{number}")).text() for number in range(len(ROWS))}

    assert len({answer.score for answer in answers}) > 3
    found = said(tmp_path, files)
    assert {name: answer for name, answer in found.items() if not answer.startswith("agreed: payment/")} == {}
    leaf = next(text for name, text in json.loads(files["p0"])["models"] if name == "model.json")
    changed = files["p0"].replace(json.dumps(leaf)[1:-1][200:260], "x" * 60)
    assert said(tmp_path, {"p0": changed})["p0"] == "refused: model.json of the model was changed"


def test_no_hashed_or_personal_value_is_in_any_file(proofs: dict[str, str]):
    for text in proofs.values():
        for value in (*CARDS, *PEOPLE, "secret-of-a-test", "hashed:", *(card[-8:] for card in CARDS)):
            assert value not in text
    masks = {mask for text in proofs.values() for mask in re.findall("masked:[0-9a-f]+", text)}
    assert len(masks) == len(CARDS)  # equal values have equal masks in all files; rows of lists are hashes


def test_only_rows_that_were_looked_up_are_shown(proofs: dict[str, str]):
    shown = {}
    for name in ("p0", "p1"):  # one card is on the list
        rows = {file: listed for file, _, listed, _ in json.loads(proofs[name])["rows"]}["lists/blocked.csv"]
        shown[name] = [text for *_, text in rows if text is not None]

    assert shown == {"p0": [], "p1": [""]}


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('"outcome\\":\\"decline', '"outcome\\":\\"approve', "the sealed decision is not the one in the log"),
        ("| > 100", "| > 900", "rules/all.yaml is not the file that was active"),
        ('"amount\\":\\"1.50', '"amount\\":\\"1.51', "the records do not lead to the root of the head"),
        ('"log":"proven"', '"log":"another"', "the signature of the head does not fit its key"),
        ('{"shroff_proof":1', '{ "shroff_proof":1', "the file is not written as shroff writes it"),
        ('{"shroff_proof":1', '{"more":2,"shroff_proof":1', "the file has an unknown key more"),
    ],
)
def test_a_changed_file_is_refused_with_the_place(
    proofs: dict[str, str], tmp_path: Path, old: str, new: str, reason: str
):
    assert old in proofs["p1"], proofs["p1"][:3000]
    answer = said(tmp_path, {"p1": proofs["p1"].replace(old, new)})["p1"]

    assert answer.startswith(f"refused: {reason}"), answer


def test_the_commands_print_files_that_agree(bank: Path, tmp_path: Path, capsys):
    assert run(["-C", str(bank), "head"]) == 0
    head = capsys.readouterr().out
    assert run(["-C", str(bank), "proof", "payment/p3", "--since", "10"]) == 0
    proof = capsys.readouterr().out

    answers = said(tmp_path, {"head": head, "proof": proof}, "--head", "head")
    assert [answer.partition(":")[0] for answer in answers.values()] == ["agreed", "agreed"]


PAGE = """
import { readFileSync } from "node:fs";
const [page, file] = process.argv.slice(2);
const node = () => ({ children: [], append(...parts) { this.children.push(...parts); } });
const listeners = {};
const found = node();
const done = new Promise((resolve) => { found.replaceChildren = (...parts) => resolve(parts); });
globalThis.document = {
  createElement: node,
  querySelector: (name) => (name === "output" ? found : { addEventListener: (kind, run) => (listeners[kind] = run) }),
  addEventListener() {},
};
const script = /<script type="module">([^]*)<[/]script>/.exec(readFileSync(page, "utf8"))[1];
await import(`data:text/javascript,${encodeURIComponent(script)}`);
listeners.change({ target: { files: [{ arrayBuffer: async () => readFileSync(file) }] } });
const said = (part) => (typeof part === "string" ? part : part.children.map(said).join(" "));
console.log((await done).map(said).join("\\n"));
"""


def test_the_page_has_all_modules_and_shows_the_decision(proofs: dict[str, str], tmp_path: Path):
    page = VERIFIER.with_name("verify.html")
    written = page.read_text()
    subprocess.run(["node", str(VERIFIER.with_name("build.mjs"))], check=True)
    assert page.read_text() == written, "run node verify/build.mjs"

    (tmp_path / "page.mjs").write_text(PAGE)
    (tmp_path / "p1").write_text(proofs["p1"])
    command = ["node", str(tmp_path / "page.mjs"), str(page), str(tmp_path / "p1")]
    shown = subprocess.run(command, capture_output=True, text=True, check=False)
    assert shown.stdout.startswith("Agreed\n"), shown.stdout + shown.stderr
    assert "payment/p1: decline" in shown.stdout
    assert "blocked decline" in shown.stdout


def test_the_verifier_stays_small():
    """At most 1,500 lines of code: without blank lines, comments, and lines with only a bracket."""
    lines = [line for path in VERIFIER.parent.glob("*.mjs") for line in path.read_text().splitlines()]

    assert len([line for line in lines if not re.fullmatch(r"\s*(//.*|[\])};,]*)", line)]) <= 1_500
