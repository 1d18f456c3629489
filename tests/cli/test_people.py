"""`shroff users`, `keys` and `audit`, as somebody types them."""

from __future__ import annotations

import io
import json
import re
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from shroff.adapters.log.sqlite import SqliteLog
from shroff.cli.main import run
from shroff.people import links, sessions
from shroff.people.audit import noted_head
from shroff.people.keys import KeyRing
from shroff.runtime.process_wide import user_name
from shroff.services import project as app

GOOD = "correct horse battery"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    app.make_project(tmp_path / "bank", "blank")
    monkeypatch.chdir(tmp_path / "bank")
    return tmp_path / "bank"


def answer(capsys, *words: str, code: int = 0) -> dict:
    assert run([*words, "--json"]) == code
    found: dict = json.loads(capsys.readouterr().out)
    return found


def typed(monkeypatch, text: str) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(text))


def test_a_user_is_added_with_a_link_and_signs_in_by_it(project, capsys):
    told = answer(capsys, "users", "add", "Ann", "--role", "analyst", "--email", "ann@bank.org")
    assert told["user"]["name"] == "ann"
    assert told["user"]["role"] == "analyst"
    assert told["user"]["signs_in_by"] == "nothing"
    with app.open(project).people.open() as desk:
        now = links.use(desk, told["link"].removeprefix(links.PATH), GOOD)
        assert sessions.signed_in(desk, now.token) is not None

    (listed,) = answer(capsys, "users")["users"]
    assert listed == answer(capsys, "users", "list")["users"][0]
    assert (listed["signs_in_by"], listed["email"], listed["disabled"]) == ("password", "ann@bank.org", False)
    assert listed["last_login_at"].endswith("Z")


def test_the_list_says_when_users_signed_in_or_that_they_never_did(project, capsys):
    answer(capsys, "users", "add", "ann", "--role", "analyst")
    assert run(["users"]) == 0
    (row,) = (line for line in capsys.readouterr().out.splitlines() if line.split()[:1] == ["ann"])

    assert row.split()[-1] == "never"


def test_a_password_comes_from_standard_input_and_is_shown_nowhere(project, capsys, monkeypatch):
    typed(monkeypatch, f"{GOOD}\nmore\n")
    told = answer(capsys, "users", "add", "root", "--role", "admin", "--password-stdin")
    assert told["link"] is None
    with app.open(project).people.open() as desk:
        assert sessions.sign_in(desk, "root", GOOD, "").user.name == "root"
    typed(monkeypatch, "another good one\n")
    told = answer(capsys, "users", "password", "root", "--password-stdin")
    with app.open(project).people.open() as desk:
        assert sessions.sign_in(desk, "root", "another good one", "").user.name == "root"

    assert "argon2" not in json.dumps(told)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["users", "add", "ann", "--role", "boss"], "roles are admin, analyst, author, viewer"),
        (["users", "add", "ann", "--role", "service"], "no role 'service' for people"),
        (["users", "add", "a b", "--role", "viewer"], "a user's name has small letters"),
        (["users", "role", "nobody", "admin"], "there is no user 'nobody'"),
        (["users", "password", "nobody"], "--password-stdin"),
        (["users", "link", "nobody"], "there is no user 'nobody'"),
        (["keys", "create", "till", "--role", "servce"], "Did you mean service?"),
        (["keys", "create", "till", "--role", "viewer", "--scope", "scre"], "Did you mean score?"),
        (["keys", "create", "till", "--role", "viewer", "--expires", "soon"], "--expires: 'soon' is not a duration"),
        (["keys", "create", "till", "--role", "viewer", "--expires", "0d"], "--expires"),
        (["keys", "revoke", "till"], "there is no key 'till'"),
        (["audit", "list", "--from", "soon"], "--from: 'soon' is not a time"),
        (["backtest", "--to", "soon"], "--to: 'soon' is not a time"),
    ],
    ids=" ".join,
)
def test_what_will_not_do_is_said_in_the_users_words(project, capsys, monkeypatch, words, said):
    typed(monkeypatch, "")

    assert run(words) == 2
    assert said in capsys.readouterr().err


def test_users_are_changed_by_commands_and_each_is_in_the_audit(project, capsys, monkeypatch):
    for name in ("root", "ann"):
        answer(capsys, "users", "add", name, "--role", "admin")
    assert answer(capsys, "users", "role", "ann", "author")["user"]["role"] == "author"
    assert answer(capsys, "users", "disable", "ann")["user"]["disabled"] is True
    assert answer(capsys, "users", "enable", "ann")["user"]["disabled"] is False
    assert answer(capsys, "users", "link")["link"].startswith(links.PATH)
    assert answer(capsys, "users", "delete", "ann")["user"]["name"] == "ann"
    assert answer(capsys, "users", "delete", "root", code=2)["type"] == "wrong-use"

    rows = answer(capsys, "audit", "list", "--subject", "user ann")["rows"]
    assert [row["action"] for row in rows[::-1]] == [
        *("user.add", "link.make", "user.role", "user.disable", "user.enable", "user.delete")
    ]
    assert {(row["who"], row["via"]) for row in rows} == {(f"os-{user_name()}", "command")}
    role = next(row for row in rows if row["action"] == "user.role")
    assert (role["from"]["role"], role["to"]["role"]) == ("admin", "author")
    page = answer(capsys, "audit", "list", "--action", "user", "--limit", "2")
    assert page["rows"][0]["action"] == "user.delete"
    rest = answer(capsys, "audit", "list", "--action", "user", "--limit", "500", "--cursor", page["next"])
    every = answer(capsys, "audit", "list", "--action", "user")
    assert (page["rows"] + rest["rows"], rest["next"]) == (every["rows"], None)
    assert answer(capsys, "audit", "list", "--to", "2020-01-01")["rows"] == []


def test_who_is_disabled_is_not_told_to_sign_in_again(project, capsys):
    run(["-C", str(project), "users", "add", "ann", "--role", "analyst"])
    run(["-C", str(project), "users", "role", "ann", "viewer"])
    assert "Ann is viewer now, and has to sign in again." in capsys.readouterr().out
    run(["-C", str(project), "users", "disable", "ann"])
    run(["-C", str(project), "users", "role", "ann", "author"])

    assert "Ann is author now.\n" in capsys.readouterr().out


def test_a_key_is_shown_once_and_opens_until_it_is_revoked(project, capsys):
    told = answer(capsys, "keys", "create", "till", "--role", "service", "--scope", "score", "--expires", "90d")
    assert {"id", "key", "role"} <= set(told)
    assert (told["role"], told["scopes"]) == ("service", ["score"])
    (listed,) = answer(capsys, "keys")["keys"]
    assert listed == {name: value for name, value in told.items() if name != "key"}
    with app.open(project).people.open() as desk, closing(KeyRing(desk)) as ring:
        assert ring.who(told["key"]).name == "till"
        until_s = time.monotonic() + 120  # a thread notes the use
        while (used := answer(capsys, "keys")["keys"][0])["used_at"] is None and time.monotonic() < until_s:
            time.sleep(0.01)

    assert used == {**listed, "used_at": used["used_at"]}
    assert used["used_at"] is not None
    assert run(["keys"]) == 0
    shown = capsys.readouterr().out
    assert told["id"] in shown
    assert told["key"].rpartition("_")[2] not in shown
    rotated = answer(capsys, "keys", "rotate", "till", "--overlap", "1h")
    assert rotated["key"] != told["key"]
    assert (rotated["name"], rotated["scopes"], rotated["old"]["id"]) == ("till", ["score"], told["id"])
    assert rotated["old"]["expires_at"] < told["expires_at"]
    answer(capsys, "keys", "revoke", rotated["id"])
    assert answer(capsys, "keys", "revoke", "till")["revoked_at"] is not None
    assert answer(capsys, "keys", "list")["keys"][0]["revoked_at"] is not None


@pytest.mark.parametrize("group", ["audit", "cases", "notices", "keys", "users", "lists", "silences", "models"])
def test_a_group_by_itself_gives_its_overview(project, capsys, group):
    answer(capsys, "users", "add", "Ann", "--role", "analyst")
    overview = answer(capsys, group)

    assert overview
    if group in {"audit", "cases", "notices"}:
        assert overview == answer(capsys, group, "list")
    assert run([group]) == 0


def test_the_tables_for_people_show_users_keys_and_the_audit(project, capsys):
    answer(capsys, "users", "add", "ann", "--role", "viewer", "--display-name", "Ann \x1b[31m"[:4])
    for words in (["create", "till", "--role", "viewer"], ["rotate", "till"]):
        assert run(["keys", *words]) == 0
        out, err = capsys.readouterr()
        assert re.fullmatch(r"shroff_\w+\n", out)  # alone, for a file
        assert "This is the key of till, role viewer. It is not shown again." in err
    for words, heads in ((["users"], "role"), (["keys"], "may"), (["audit", "list"], "action")):
        assert run(words) == 0
        assert heads in capsys.readouterr().out.splitlines()[1]


def test_the_table_of_keys_says_which_have_expired(project, capsys, monkeypatch):
    answer(capsys, "keys", "create", "till", "--role", "viewer", "--expires", "1d")

    assert run(["keys"]) == 0
    assert "expires 20" in capsys.readouterr().out
    now_ns = time.time_ns()
    monkeypatch.setattr(time, "time_ns", lambda: now_ns + 2 * 86_400 * 10**9)
    assert run(["keys"]) == 0
    assert "expired 20" in capsys.readouterr().out


# ---- the audit


def test_an_untouched_audit_is_whole_and_noted(project, capsys):
    for name in ("ann", "ben"):
        answer(capsys, "users", "add", name, "--role", "viewer")

    whole = {"ok": True, "rows": 4, "breaks": []}
    assert answer(capsys, "audit", "verify") == whole
    number, _ = noted_head(app.open(project).context.paths)
    assert number == 4
    assert run(["audit", "verify"]) == 0
    assert "4 rows" in capsys.readouterr().out


COPY = (
    "INSERT INTO audit SELECT 5, at_ms, who, name, via, action, subject, before_, after_, "
    "(SELECT hash FROM audit WHERE number = 4), hash FROM audit WHERE number = 1"
)


def tamper(project: Path, *statements: str) -> None:
    with closing(sqlite3.connect(project / ".shroff" / "log.db", isolation_level=None)) as shell:
        for sql in ("DROP TRIGGER audit_update", "DROP TRIGGER audit_delete", *statements):
            shell.execute(sql)


@pytest.mark.parametrize(
    ("sql", "at", "why"),
    [
        ("UPDATE audit SET subject = 'user eve' WHERE number = 2", 2, "not what was recorded"),
        ("DELETE FROM audit WHERE number = 2", 2, "missing"),
        ("DELETE FROM audit WHERE number > 2", 3, "cut off at the end"),
        ("DELETE FROM audit", 1, "cut off at the end"),
        ("UPDATE audit SET number = number + 10", 1, "missing"),
        (COPY, 5, "not what was recorded"),
        ("DELETE FROM audit_head", 5, "head of the chain is missing"),
        ("UPDATE audit_head SET number = 3", 5, "not sealed"),
    ],
)
def test_what_somebody_with_a_shell_changes_is_found_at_its_place(project, capsys, sql, at, why):
    for name in ("ann", "ben"):
        answer(capsys, "users", "add", name, "--role", "viewer")
    tamper(project, sql)
    told = answer(capsys, "audit", "verify", code=1)

    assert (told["ok"], told["breaks"][0]["row"]) == (False, at)
    assert why in told["breaks"][0]["why"]
    assert run(["audit", "verify"]) == 1
    assert f"Broken at row {at}" in capsys.readouterr().out


def test_an_older_copy_of_the_database_is_found(project, capsys):
    log = project / ".shroff" / "log.db"
    answer(capsys, "users", "add", "ann", "--role", "viewer")
    SqliteLog(log).close()  # moves what is in the write-ahead log into the file
    older = log.read_bytes()
    answer(capsys, "users", "add", "ben", "--role", "viewer")
    assert answer(capsys, "audit", "verify")["rows"] == 4
    for path in log.parent.glob("log.db*"):
        path.unlink()
    log.write_bytes(older)

    told = answer(capsys, "audit", "verify", code=1)
    assert told["breaks"][0]["why"] == "rows up to 4 were noted here before, and they are gone"


def test_rows_that_were_cut_off_stay_missed_after_the_next_act(project, capsys):
    answer(capsys, "users", "add", "ann", "--role", "viewer")
    answer(capsys, "users", "add", "eve", "--role", "admin")
    head = "UPDATE audit_head SET (number, hash) = (SELECT number, hash FROM audit WHERE number = 2)"
    tamper(project, "DELETE FROM audit WHERE number > 2", head)
    answer(capsys, "users", "sign-out", "ann")
    told = answer(capsys, "audit", "verify", code=1)

    assert told["breaks"][0]["row"] == 3
    assert "rows were cut off" in told["breaks"][0]["why"]


def test_a_lost_key_is_told_by_doctor_and_replaced_by_nobody(project, capsys):
    answer(capsys, "users", "add", "ann", "--role", "viewer")
    key = project / ".shroff" / "hash.key"
    kept = key.read_bytes()
    key.unlink()

    for words in ("audit verify", "users add eve --role admin"):
        assert "Restore it from your copy" in answer(capsys, *words.split(), code=3)["detail"]
    assert run(["status"]) == 0
    capsys.readouterr()
    assert run(["doctor"]) == 1
    assert f"WRONG  hash key        {key} is missing" in capsys.readouterr().out
    assert not key.exists()
    key.write_bytes(kept)
    assert answer(capsys, "audit", "verify")["rows"] == 2


def test_nothing_is_done_where_nothing_can_be_recorded(project, capsys):
    answer(capsys, "users", "add", "ann", "--role", "viewer")
    tamper(project, "DELETE FROM audit_head")

    assert answer(capsys, "users", "add", "eve", "--role", "admin", code=3)["type"] == "storage"
    assert [user["name"] for user in answer(capsys, "users")["users"]] == ["ann"]


def test_a_note_that_cannot_be_read_is_no_silence(project, capsys):
    answer(capsys, "users", "add", "ann", "--role", "viewer")
    answer(capsys, "audit", "verify")
    (project / ".shroff" / "audit.head").write_text("many")

    assert "audit.head cannot be read" in answer(capsys, "audit", "verify", code=3)["detail"]


def test_people_are_kept_where_there_was_no_log_yet_and_events_come_after(project, capsys):
    assert answer(capsys, "users")["users"] == []
    assert run(["ingest", "examples/payment.json", "--as", "payment"]) == 0
    capsys.readouterr()
    answer(capsys, "users", "add", "ann", "--role", "viewer")

    assert answer(capsys, "verify")["mismatches"] == 0
    assert [user["name"] for user in answer(capsys, "users")["users"]] == ["ann"]


def test_only_the_owner_and_the_group_may_read_the_file_that_has_hashes_of_passwords(project, capsys):
    answer(capsys, "users", "add", "ann", "--role", "viewer")

    assert (project / ".shroff" / "log.db").stat().st_mode & 0o007 == 0


def test_links_are_told_whole_where_the_address_of_the_service_is_set(project, capsys):
    assert answer(capsys, "users", "link")["url"] is None
    with (project / "shroff.yaml").open("a") as file:
        file.write("web: { url: https://fraud.bank.example/ }\n")
    told = answer(capsys, "users", "link")
    run(["users", "add", "bo", "--role", "viewer"])

    assert told["url"] == f"https://fraud.bank.example{told['link']}"
    assert "https://fraud.bank.example/login/link/" in capsys.readouterr().out


@pytest.mark.parametrize(("url", "said"), [("${NOT_SET}", "variable is not set"), ("https:///x", "and a host")])
def test_an_address_of_the_service_that_is_none_is_refused(project, capsys, url, said):
    with (project / "shroff.yaml").open("a") as file:
        file.write(f"web: {{ url: '{url}' }}\n")

    assert run(["users", "link"]) == 2
    assert said in capsys.readouterr().err
