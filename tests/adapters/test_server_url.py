from __future__ import annotations

import subprocess
import sys

import pytest

from shroff.adapters.databases.server_url import server_url
from shroff.adapters.log.postgresql import PostgresLog
from shroff.errors import UsageError

SECRET = "p:s/w@d%"
OPTIONS = ("schema", "sslmode", "ssl_ca")


def read(url):
    return server_url(url, ("postgresql", "postgres"), 5432, OPTIONS)


def test_an_address_is_read_with_what_is_escaped_in_it():
    found = read("postgresql://a%40b:p%3As%2Fw%40d%25@db.example:6543/bank?schema=s1&sslmode=require")

    assert (found.user, found.password, found.host, found.port) == ("a@b", SECRET, "db.example", 6543)
    assert (found.database, found.name("schema", "shroff"), found.ssl_mode) == ("bank", "s1", "require")
    assert found.place == "postgresql://db.example:6543/bank?schema=s1"
    assert SECRET not in repr(found)


def test_what_an_address_leaves_out_has_its_default():
    found = read("postgres://db.example/bank")

    assert (found.port, found.user, found.password, found.name("schema", "shroff")) == (5432, "", "", "shroff")


@pytest.mark.parametrize(
    ("host", "mode"),
    [
        ("db.example", "verify-full"),
        ("10.0.0.7", "verify-full"),
        ("localhost.example", "verify-full"),
        ("127.0.0.1", "prefer"),
        ("127.8.9.1", "prefer"),
        ("[::1]", "prefer"),
        ("localhost", "prefer"),
    ],
)
def test_a_server_on_another_machine_must_show_who_it_is(host, mode):
    assert read(f"postgresql://{host}/bank").ssl_mode == mode
    assert read(f"postgresql://{host}/bank?sslmode=require").ssl_mode == "require"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("mysql://u:{secret}@h/d", "begins with postgresql or postgres://, found 'mysql'"),
        ("postgresql://u:{secret}@/d", "with a host and a database"),
        ("postgresql://u:{secret}@h", "with a host and a database"),
        ("postgresql://u:{secret}@h/d/e", "with a host and a database"),
        ("postgresql://u:{secret}@h:99999/d", "its port is not a number"),
        ("postgresql://u:{secret}@h/d?shema=x", "there is no option 'shema'.*Did you mean schema"),
        ("postgresql://u:{secret}@h/d?sslmode=maybe", "sslmode is one of disable"),
    ],
)
def test_an_address_that_will_not_do_is_refused_without_its_password(url, words):
    with pytest.raises(UsageError, match=words) as raised:
        read(url.format(secret="secret-1"))

    assert "secret-1" not in str(raised.value)


@pytest.mark.parametrize("name", ["", "A", "1a", 'x"; DROP TABLE events; --', "a b", "a" * 41, "é", "a.b"])
def test_a_name_that_becomes_part_of_sql_is_checked_before_anything_is_sent(name):
    with pytest.raises(UsageError, match="is not a valid name"):
        PostgresLog(f"postgresql://h/d?schema={name.replace(' ', '%20').replace(';', '%3B')}")


def test_a_missing_library_is_named_with_the_extra_that_brings_it():
    code = "import sys\nsys.modules['psycopg'] = None\nimport shroff.adapters.log.postgresql"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert "UsageError: PostgreSQL needs the extra 'postgres'" in ended.stderr
    assert "pip install 'shroff[postgres]'" in ended.stderr
