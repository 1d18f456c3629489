from __future__ import annotations

import base64
import time

import pytest

from shroff import webhooks
from shroff.adapters.sinks.webhook import WebhookSink
from shroff.errors import InputError, TransientError, UsageError
from shroff.streams.sink import AwayError
from shroff.testing.contracts.sink import row, rows
from tests.contracts.receivers import receiver
from tests.support.patience import PATIENCE_S, settled

SECRET = f"whsec_{base64.b64encode(b'0123456789abcdef01234567').decode()}"


@pytest.fixture
def received():
    with receiver() as server:
        yield server


@pytest.fixture
def sink(received):
    """Makes sinks that call the receiver."""
    made = []

    def make(now_s=time.time, **options):
        options = {"url": received.url, "secret": SECRET, "timeout": "2m", **options}
        made.append(WebhookSink("bank-hook", options, now_s))
        return made[-1]

    yield make
    for item in made:
        item.close()


# ---- signatures


def test_a_signature_is_that_of_the_specification():
    # The example of the Standard Webhooks libraries.
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    body = b'{"test": 2432232314}'
    found = webhooks.headers(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body)

    assert found["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_call_is_known_by_its_signature_and_gives_its_id():
    found = webhooks.headers(SECRET, "bank-hook-7-0", 1_000, b"{}")
    shouted = {name.upper(): value for name, value in found.items()}

    assert webhooks.verify(SECRET, shouted, b"{}", now_s=1_200.5) == "bank-hook-7-0"


@pytest.mark.parametrize(
    "changes, body, now_s, header",
    [
        ({}, b"{ }", 1_000, "webhook-signature"),
        ({"webhook-id": "other"}, b"{}", 1_000, "webhook-signature"),
        ({"webhook-timestamp": "1001"}, b"{}", 1_000, "webhook-signature"),
        ({"webhook-signature": "v1,"}, b"{}", 1_000, "webhook-signature"),
        ({"webhook-signature": "v1,é"}, b"{}", 1_000, "webhook-signature"),
        ({"webhook-timestamp": "soon"}, b"{}", 1_000, "webhook-timestamp"),
        ({"webhook-timestamp": "9" * 5_000}, b"{}", 1_000, "webhook-timestamp"),
        ({}, b"{}", 1_301, "webhook-timestamp"),
        ({}, b"{}", 699, "webhook-timestamp"),
    ],
)
def test_what_was_changed_or_is_old_is_no_call(changes, body, now_s, header):
    found = webhooks.headers(SECRET, "a", 1_000, b"{}") | changes

    with pytest.raises(InputError) as raised:
        webhooks.verify(SECRET, found, body, now_s=now_s)
    assert raised.value.mistakes[0][0] == header


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_a_call_without_its_headers_is_none(name):
    found = webhooks.headers(SECRET, "a", 1_000, b"{}")
    del found[name]

    with pytest.raises(InputError, match=name):
        webhooks.verify(SECRET, found, b"{}", now_s=1_000)


def test_two_keys_sign_both_so_that_a_receiver_may_change_from_one_to_the_other():
    other = f"whsec_{base64.b64encode(b'another key, another key').decode()}"
    found = webhooks.headers(f"{SECRET} {other}", "a", 1_000, b"{}")

    assert webhooks.verify(SECRET, found, b"{}", now_s=1_000) == "a"
    assert webhooks.verify(other, found, b"{}", now_s=1_000) == "a"
    with pytest.raises(InputError):
        webhooks.verify("whsec_AAAA", found, b"{}", now_s=1_000)


@pytest.mark.parametrize("secret", ["", "  ", "whsec_", "whsec_not base64", "whsec_*", "whsec_AAA"])
def test_a_secret_that_is_none_is_refused_and_not_shown(secret):
    with pytest.raises(UsageError) as raised:
        WebhookSink("hook", {"url": "http://localhost/", "secret": secret})
    assert "not base64" not in str(raised.value)


# ---- calls


def test_a_call_has_the_document_and_is_signed(received, sink):
    hook = sink(url=f"{received.url}?a=1")
    assert hook.send(rows(4, 1)) == []

    ((headers, body),) = received.calls
    assert body == row(4).body
    assert webhooks.verify(SECRET, headers, body) == "bank-hook-4-0"
    assert headers["content-type"] == "application/json"
    assert headers["shroff-kind"] == "decision"


def test_calls_use_one_connection(received, sink):
    hook = sink()
    hook.send(rows(1, 20))

    assert (received.connections, len(received.taken)) == (1, 20)


@pytest.mark.parametrize("status", [400, 401, 404, 409, 410, 413, 422])
def test_what_a_receiver_does_not_take_is_refused_for_good(received, sink, status):
    received.answers = [200, status]
    refused = sink().send(rows(1, 3))

    assert [(item.row.seq, item.may_pass) for item in refused] == [(2, False)]
    assert str(status) in refused[0].reason
    assert received.taken == [row(1).body, row(3).body]


@pytest.mark.parametrize("status", [500, 501, 505, 599])
def test_a_row_that_a_receiver_fails_at_may_pass_and_nothing_goes_ahead_of_it(received, sink, status):
    received.answers = [200, status]
    refused = sink().send(rows(1, 3))

    assert [(item.row.seq, item.may_pass) for item in refused] == [(2, True)]
    assert len(received.calls) == 2


def test_what_was_refused_for_good_ahead_of_a_row_that_may_pass_is_told_with_it(received, sink):
    received.answers = [400, 500]
    refused = sink().send(rows(1, 3))

    assert [(item.row.seq, item.may_pass) for item in refused] == [(1, False), (2, True)]


@pytest.mark.parametrize("status", [408, 425, 429, 502, 503, 504])
def test_a_receiver_that_is_busy_or_away_is_waited_for_as_long_as_it_asks(received, sink, status):
    hook = sink()
    received.answers = [(status, {"Retry-After": "120"}), (status, {})]
    with pytest.raises(AwayError, match=str(status)) as raised:
        hook.send(rows(1, 2))
    assert raised.value.after_s == 120
    with pytest.raises(AwayError) as raised:
        hook.send(rows(1, 2))

    assert raised.value.after_s == 0
    assert hook.send(rows(1, 2)) == []


def test_a_receiver_may_say_until_when(received, sink):
    hook = sink(now_s=lambda: 1_445_412_400.0)
    received.answers = [
        (503, {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}),
        (503, {"Retry-After": "tomorrow"}),
        (503, {"Retry-After": "Wed, 21 Oct 1998 07:28:00 GMT"}),
    ]
    asked = []
    for _ in range(3):
        with pytest.raises(AwayError) as raised:
            hook.send(rows(1, 1))
        asked.append(raised.value.after_s)

    assert asked == [80, 0, 0]


def test_a_redirect_is_not_followed(received, sink):
    received.answers = [(302, {"Location": "http://169.254.169.254/"})]
    with pytest.raises(UsageError, match=r"302.*not followed") as raised:
        sink().send(rows(1, 1))

    assert "169.254" not in str(raised.value)
    assert len(received.calls) == 1


@pytest.mark.parametrize("answer", ["hang", "drip", "reset"])
def test_an_answer_that_does_not_come_is_waited_for_no_longer_than_the_timeout(received, sink, answer):
    hook = sink(timeout="500ms")
    settled(lambda: hook.send(rows(1, 1)), TransientError)
    received.answers = [answer, answer, answer]
    began = time.monotonic()
    with pytest.raises(TransientError) as raised:
        hook.send(rows(2, 1))

    assert time.monotonic() - began < PATIENCE_S  # one with the connection that was kept, one with a new one
    assert "key-in-path" not in str(raised.value)
    received.answers.clear()
    assert settled(lambda: hook.send(rows(2, 1)), TransientError) == []


def test_a_connection_that_the_receiver_closed_is_made_anew(received, sink):
    hook = sink()
    received.answers = [200, "reset"]
    hook.send(rows(1, 1))

    assert hook.send(rows(2, 1)) == []
    assert received.taken == [row(1).body, row(2).body]


def test_a_certificate_that_nobody_vouches_for_is_not_trusted(received, sink):
    with pytest.raises(AwayError):
        sink(url=received.url.replace("http:", "https:")).send(rows(1, 1))

    assert received.calls == []


@pytest.mark.parametrize("url", ["ftp://a/", "http://", "https://u:hunter2@a/", "http://a:port/", "http://[/"])
def test_an_address_that_is_none_is_refused_and_not_shown(url):
    with pytest.raises(UsageError) as raised:
        WebhookSink("hook", {"url": url, "secret": SECRET})

    assert "hunter2" not in str(raised.value)
