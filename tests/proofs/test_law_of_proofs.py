"""The law of proofs: a second implementation recomputes any decision from its proof, and refuses one that was changed.

`verify/` shares no code with the program. A project of the law has every aggregate, window, list, table and link.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from random import Random

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from shroff.explain.explanation import definitions_at
from shroff.explain.key_events import looked_back
from shroff.log.tree import Path as TreePath
from shroff.log.tree import leaf_hash
from shroff.replay.proofs import Tree, mask_with, prove
from shroff.streams.log import DecisionRow, Log
from tests.laws.projects import event_of, history_of, project, some_texts
from tests.laws.test_engines import written
from tests.support.effort import times

VERIFIER = Path(__file__).parents[2] / "verify" / "cli.mjs"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
MASK = mask_with(b"k" * 32)
AT = "2026-03-01T10:00:00Z"


def sign(data: bytes) -> tuple[str, str]:
    return KEY.public_key().public_bytes_raw().hex(), KEY.sign(data).hex()


def proofs_of(log: Log, random: Random, count: int) -> Iterator[str]:
    """The proofs of some decisions, the last ones among them."""
    rows = [row for rows in log.decisions.after() for row in rows]
    for row in random.sample(rows, min(count, len(rows))):
        yield proof_of(log, row)


def proof_of(log: Log, row: DecisionRow, since: int | None = None) -> str:
    definitions = definitions_at(log, row.seq)
    past = looked_back(log, definitions, row.seq)
    return prove(log, row, definitions, past, MASK, (AT, sign), lambda _: [], since).text() + "\n"


def some_proofs(count: int, each: int = 4) -> Iterator[str]:
    random = Random(7)
    made = 0
    while made < count:
        log = written(project(*some_texts(random)), history_of(random.getrandbits(32), 40))
        for text in proofs_of(log, random, min(each, count - made)):
            made += 1
            yield text


def said(folder: Path, files: Mapping[str, bytes | str], *options: str) -> dict[str, str]:
    """What the verifier says of each file."""
    for name, content in files.items():
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    command = ["node", str(VERIFIER), *sorted(files), *options]
    run = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600, check=False)
    assert run.stderr == ""
    lines = [line.split(": ", 2) for line in run.stdout.splitlines() if not line.startswith(" ")]
    return {name: f"{word}: {more}" for word, name, more in lines}


def test_a_second_implementation_agrees(tmp_path: Path):
    files = {f"{number}.json": text for number, text in enumerate(some_proofs(times(20, 1_000)))}
    answers = said(tmp_path, files)

    assert {name: answer for name, answer in answers.items() if not answer.startswith("agreed")} == {}
    assert len(answers) == len(files)


def test_one_bit_changed_anywhere_is_refused(tmp_path: Path):
    random = Random(8)
    files = {}
    for number, text in enumerate(some_proofs(times(50, 1_000), each=20)):
        data = bytearray(text.encode())
        data[random.randrange(len(data))] ^= 1 << random.randrange(8)
        files[f"{number}.json"] = bytes(data)
    answers = said(tmp_path, files)

    assert {name: answer for name, answer in answers.items() if not answer.startswith("refused")} == {}
    assert len(answers) == len(files)


def test_a_log_rewritten_behind_an_old_head_is_told_by_that_head(tmp_path: Path):
    random = Random(9)
    texts = some_texts(random)
    history = [event for event in history_of(3, 40) if event.type != "label"]
    changed = [*history]
    changed[4] = event_of(random, history[4].type, 4, history[4].time_ms + 1)
    logs = [written(project(*texts), events) for events in (history[:20], history, changed)]
    early, whole, other = (Tree(log, MASK) for log in logs)
    size = len(early.hashes)
    assert whole.hashes[:size] == early.hashes
    row = [row for rows in logs[1].decisions.after() for row in rows][-1]
    files = {
        name: proof_of(log, log.decisions.of(row.event, [row.id])[row.id], since)
        for name, log, since in (("whole", logs[1], size), ("rewritten", logs[2], size), ("unled", logs[1], None))
    }
    files["head"] = early.head("law", (AT, sign)).text()
    answers = said(tmp_path, files, "--head", "head")

    assert answers["whole"].startswith("agreed")
    assert answers["head"].startswith("agreed")
    assert (
        answers["rewritten"]
        == f"refused: the log was rewritten: its first {size} records are not those of the kept head"
    )
    assert answers["unled"] == f"refused: the file does not lead from the kept head: make it with --since {size}"
    same_size = said(
        tmp_path,
        {"head": whole.head("law", (AT, sign)).text(), "now": other.head("law", (AT, sign)).text()},
        "--head",
        "head",
    )
    assert same_size["now"].startswith("refused: the log was rewritten")


def test_a_tree_has_the_root_of_any_path():
    for size in range(1, 20):
        leaves = [leaf_hash(bytes([number])) for number in range(size)]
        for early in range(1, size + 1):
            path = TreePath(leaves, {size // 2}, early)
            assert path.root == TreePath(leaves).root
            assert len(path.nodes) <= 4 * size.bit_length()
