"""HTTP calls that leave: by which way, whom they trust, and when they end."""

from __future__ import annotations

from contextlib import closing
from http.client import HTTPConnection, HTTPSConnection

import pytest

from shroff.adapters.http_calls import Calls
from shroff.adapters.people.oidc import provider_of
from shroff.adapters.registry.http import HttpRegistry
from shroff.adapters.sinks.webhook import WebhookSink
from shroff.errors import SchemasAwayError, StorageError, TransientError, UsageError
from shroff.project.settings.system import System
from shroff.project.settings.systems import Systems
from shroff.services import project as app
from tests.contracts.receivers import receiver
from tests.support.projects import FILES

PROXY = "http://proxy.bank:3128"
VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY")


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def way(connection: HTTPConnection) -> str:
    """The host that is connected to, and the one behind it."""
    return f"{connection.host}:{connection.port} {getattr(connection, '_tunnel_host', None) or ''}".strip()


@pytest.mark.parametrize(
    ("scheme", "host", "proxy", "variables", "found"),
    [
        ("https", "hook.example", "", {}, "hook.example:443"),
        ("https", "hook.example", PROXY, {}, "proxy.bank:3128 hook.example"),
        ("https", "hook.example", "", {"HTTPS_PROXY": PROXY}, "proxy.bank:3128 hook.example"),
        ("https", "hook.example", "", {"https_proxy": "proxy.bank:3128"}, "proxy.bank:3128 hook.example"),
        ("https", "hook.example", "", {"ALL_PROXY": PROXY}, "proxy.bank:3128 hook.example"),
        ("https", "hook.example", "", {"HTTP_PROXY": PROXY}, "hook.example:443"),
        ("https", "hook.example", "", {"HTTPS_PROXY": PROXY, "NO_PROXY": ".example"}, "hook.example:443"),
        ("https", "hook.example", "none", {"HTTPS_PROXY": PROXY}, "hook.example:443"),
        ("https", "hook.example", PROXY, {"NO_PROXY": "*"}, "proxy.bank:3128 hook.example"),
        ("http", "hook.example", "", {"http_proxy": PROXY}, "proxy.bank:3128"),
        ("https", "127.0.0.1", PROXY, {"HTTPS_PROXY": PROXY}, "127.0.0.1:443"),
    ],
)
def test_the_settings_and_then_the_environment_say_by_which_way(monkeypatch, scheme, host, proxy, variables, found):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    connection = Calls(proxy=proxy).connection(scheme, host, None)

    assert way(connection) == found
    assert isinstance(connection, HTTPSConnection) == (scheme == "https")


@pytest.mark.parametrize("proxy", ["https://proxy.bank", "socks5://u:secret@proxy.bank", "http://:3128", "http://a:x"])
def test_an_address_that_is_no_http_proxy_is_refused_without_being_shown(proxy):
    with pytest.raises(UsageError, match="the address of an HTTP proxy is") as found:
        Calls(proxy=proxy)

    assert "secret" not in str(found.value)


def test_a_proxy_is_told_the_whole_address_and_who_we_are():
    with receiver() as received:
        port = received.url.rpartition(":")[2].partition("/")[0]
        connection = Calls(proxy=f"http://ann:s%3Acret@127.0.0.1:{port}").connection("http", "hook.example", 8080)
        with closing(connection):
            connection.request("POST", "/in?a=1", b"{}", {"X-One": "1"})
            connection.getresponse().read()

    ((headers, body),) = received.calls
    assert received.paths == ["http://hook.example:8080/in?a=1"]
    assert (headers["host"], headers["x-one"], body) == ("hook.example:8080", "1", b"{}")
    assert headers["proxy-authorization"] == "Basic YW5uOnM6Y3JldA=="


def test_certificates_are_those_of_the_file_or_of_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    connection = Calls().connection("https", "hook.example", None)

    assert connection._context.cert_store_stats()["x509"] == 0
    with pytest.raises(UsageError, match=r"none\.pem cannot be read as certificates"):
        Calls(ca=str(tmp_path / "none.pem"))


def test_what_is_said_once_holds_for_all_that_is_called_and_its_own_settings_come_first(tmp_path):
    systems = Systems(http=System("http", {"proxy": PROXY, "timeout": "3s"}))
    hook = systems.called(
        System("webhook", {"url": "https://a.example", "secret": "x" * 32, "timeout": "1s"}), tmp_path
    )
    registry = systems.called(System("registry", {"url": "http://b.example"}), tmp_path)
    sign_in = {"issuer": "https://c.example", "client_id": "shroff", "roles": {}, "proxy": "none"}
    provider = provider_of(systems.called(System("oidc", sign_in), tmp_path))
    made = [
        item._client._made()
        for item in (WebhookSink("hook", hook.options), HttpRegistry("http://b.example", Calls.of(registry.options)))
    ]

    assert (way(made[0]), made[0].timeout) == ("proxy.bank:3128 a.example", 1.0)
    assert (way(made[1]), made[1].timeout) == ("proxy.bank:3128", 3.0)
    assert way(provider._calls.connection("https", "c.example", None)) == "c.example:443"


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_files_are_named_from_the_folder_and_only_what_is_encrypted_has_certificates(tmp_path, scheme):
    systems = Systems(http=System("http", {"ca": "certs/ca.pem"}))
    found = systems.called(System("webhook", {"url": f"{scheme}://a.example"}), tmp_path).options

    assert found.get("ca") == (str(tmp_path / "certs/ca.pem") if scheme == "https" else None)


def test_an_answer_that_drips_ends_when_its_time_is_over():
    told = {"issuer": "http://127.0.0.1", "client_id": "shroff", "roles": {}, "timeout": "200ms"}
    with receiver() as received:
        received.answers += ["drip", "drip"]
        with (
            closing(HttpRegistry(received.url, Calls(timeout_s=0.2))) as registry,  # it must be given up
            pytest.raises(SchemasAwayError, match="does not answer in time"),
        ):
            registry.register("payments", "{}")
        with pytest.raises(TransientError, match=r"no answer within 0\.2 s"):
            provider_of(System("oidc", told))._fetch("POST", received.url, {}, b"{}")


@pytest.mark.parametrize("head", [b"Content-Length: 10000", b"Content-Length: 10000\r\nConnection: close", b"X: y"])
def test_a_body_that_drips_or_is_cut_off_is_no_answer(head):
    with receiver() as received, client(received, timeout_s=0.5, answer_bytes_max=20_000) as caller:  # given up
        received.answers = [head + b"\r\n\r\n"]
        with pytest.raises(TimeoutError, match=r"no answer within 0\.5 s"):
            caller.call("POST", "/", b"1")
    with receiver() as received:
        received.answers = [(200, {"Content-Length": "9", "Connection": "close"})] * 2
        with client(received) as caller, pytest.raises(OSError, match="its answer was cut off"):
            caller.call("POST", "/", b"2")
        with client(received, wants_body=False) as caller:
            assert caller.call("POST", "/", b"3").status == 200
        received.answers, received.calls[:] = [200, (200, {"Content-Length": "9", "Connection": "close"})], []
        with client(received) as caller:
            caller.call("POST", "/", b"4")
            with pytest.raises(OSError, match="its answer was cut off"):
                caller.call("POST", "/", b"5")
        assert [body for _, body in received.calls] == [b"4", b"5"], "what was answered was done"


def test_a_status_is_an_answer_where_no_body_is_wanted_however_that_drips():
    with receiver() as received, client(received, timeout_s=1.0, wants_body=False) as caller:  # it never ends
        received.answers = [b"Content-Length: 10000\r\n\r\n"]

        assert caller.call("POST", "/", b"1").status == 200


def client(received, timeout_s=120.0, **options):
    port = int(received.url.rpartition(":")[2].partition("/")[0])
    return closing(Calls(timeout_s=timeout_s).client("http", "127.0.0.1", port, **{"answer_bytes_max": 100, **options}))


def test_a_call_is_made_again_on_a_new_connection_but_not_where_its_time_was_over():
    with receiver() as received, client(received, timeout_s=3.0) as caller:  # who hangs must be given up
        received.answers = [200, "reset", 200, "hang"]
        taken = [caller.call("POST", "/", body).body for body in (b"1", b"2")]
        with pytest.raises(TimeoutError):
            caller.call("POST", "/", b"3")
        later = caller.call("POST", "/", b"4")

    assert (taken, later.body) == ([b"ok", b"ok"], b"ok")
    assert [body for _, body in received.calls] == [b"1", b"2", b"2", b"3", b"4"]


def test_a_redirect_is_an_answer_like_any_other():
    with receiver() as received, client(received) as caller:
        received.answers = [(307, {"Location": received.url})]
        answer = caller.call("POST", "/", b"1")

    assert (answer.status, answer.headers["Location"], len(received.calls)) == (307, received.url, 1)


def test_an_answer_is_read_up_to_its_limit_and_a_body_that_nobody_wants_is_no_reason():
    with receiver() as received:
        with client(received, answer_bytes_max=1) as caller:
            for _ in range(2):
                with pytest.raises(OSError, match="its answer is longer than 1 bytes"):
                    caller.call("POST", "/", b"1")
        with client(received, answer_bytes_max=1, wants_body=False) as caller:
            assert [caller.call("POST", "/", b"2").status for _ in range(2)] == [200, 200]

    assert [body for _, body in received.calls] == [b"1", b"1", b"2", b"2"]


def test_a_provider_whose_answer_is_too_long_is_away(monkeypatch):
    monkeypatch.setattr("shroff.adapters.people.oidc.ANSWER_BYTES_MAX", 1)
    told = {"issuer": "http://127.0.0.1", "client_id": "shroff", "roles": {}}
    with receiver() as received, pytest.raises(TransientError, match="reached: its answer is longer than 1 bytes"):
        provider_of(System("oidc", told))._fetch("POST", received.url, {}, b"{}")


def test_requests_of_a_lake_in_a_bucket_go_through_the_proxy_of_the_project(monkeypatch, tmp_path):
    for name, value in {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}.items():
        monkeypatch.setenv(name, value)
    with receiver() as received:
        received.answers = [403]
        (tmp_path / "shroff.yaml").write_text(
            FILES["shroff.yaml"] + f"http: {{ proxy: '{received.url.removesuffix('/hooks/key-in-path')}' }}\n"
            "lake: { to: s3://bucket/p, endpoint: 'http://store.bank.example', region: eu }\n",
            encoding="utf-8",
        )
        with app.open(tmp_path).lake.open() as lake, pytest.raises(StorageError, match="refuses a"):
            lake.objects.delete("a")

    assert received.paths == ["http://store.bank.example/bucket?delete"]
