"""Amazon SNS: what is accepted, and that nothing else is, by signatures that the tests make themselves."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shroff.errors import TransientError, UsageError
from shroff.streams.push import FetchNeededError, Push, PushRefusedError
from shroff_plugins.connectors import sns_certificates
from shroff_plugins.connectors.sns import SnsSource
from shroff_plugins.connectors.sns_certificates import FETCHES_A_MINUTE, MISSING_S, Certificates
from tools.sns import CERTIFICATE, CONFIRM, NOW_MS, TOPIC, certificate, message, posted, signed

KINDS = {"Notification": "message", "SubscriptionConfirmation": "subscribe", "UnsubscribeConfirmation": "unsubscribe"}


class Sns:
    """A source with the addresses that it asked, and what is there."""

    def __init__(self, pem: bytes | None = None, **options: Any) -> None:
        self.asked: list[str] = []
        self.there = {CERTIFICATE: certificate() if pem is None else pem}
        self.source = SnsSource({"topics": [TOPIC], **options}, self.fetch)

    def fetch(self, url: str) -> bytes:
        self.asked.append(url)
        return self.there[url]

    def take(self, body: bytes, headers: dict[str, str] | None = None, now_ms: int = NOW_MS) -> Push:
        try:
            return self.source.verified(headers or {}, body, now_ms)
        except FetchNeededError as needed:
            self.source.fetch(needed.url)
            return self.source.verified(headers or {}, body, now_ms)

    def status(self, body: bytes, headers: dict[str, str] | None = None, now_ms: int = NOW_MS) -> int:
        with pytest.raises(PushRefusedError) as found:
            self.take(body, headers, now_ms)
        return found.value.status


@pytest.mark.parametrize("version", ["1", "2"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("subject", [None, "A subject"])
def test_each_type_is_accepted_by_either_version_of_signatures(version, kind, subject):
    sns = Sns()
    found = sns.take(posted(kind, SignatureVersion=version, Subject=subject if kind == "Notification" else None))

    assert (found.kind, found.id, found.topic, found.type) == (KINDS[kind], "m-1", TOPIC, kind)
    assert found.body == b"{}"
    assert found.envelope.get("Subject") == (subject if kind == "Notification" else None)
    assert sns.asked == [CERTIFICATE]


@pytest.mark.parametrize("kind", KINDS)
def test_every_signed_field_changed_by_one_byte_is_refused(kind):
    for version in "12":
        whole = signed(message(kind, SignatureVersion=version, Message="abc", **_subject(kind)))
        names = {"Message", "MessageId", "Timestamp", "TopicArn", "Type", "Signature"} | (
            {"Subject"} if kind == "Notification" else {"Token", "SubscribeURL"}
        )
        for name in sorted(names):
            value = whole[name]
            first, last = chr(ord(value[0]) ^ 1), chr(ord(value[-1]) ^ 1)
            for changed in (f"{first}{value[1:]}", f"{value[:-1]}{last}", value[:-1], f"{value}x"):
                assert Sns().status(json.dumps(whole | {name: changed}).encode()) in {400, 403}, (name, changed)
        if kind == "Notification":
            del whole["Subject"]
            assert Sns().status(json.dumps(whole).encode()) == 403


def _subject(kind: str) -> dict[str, str]:
    return {"Subject": "A subject"} if kind == "Notification" else {}


def test_what_is_not_signed_changes_nothing():
    whole = signed(message()) | {"UnsubscribeURL": "http://127.0.0.1/", "MessageAttributes": {"id": {"Value": "x"}}}

    assert Sns().take(json.dumps(whole).encode()) == Sns().take(posted())


@pytest.mark.parametrize(("made", "said"), [("1", "2"), ("2", "1"), ("2", "3"), ("1", "")])
def test_swapped_and_unknown_versions_are_refused(made, said):
    whole = signed(message(SignatureVersion=made)) | {"SignatureVersion": said}

    assert Sns().status(json.dumps(whole).encode()) == 403


@pytest.mark.parametrize(
    "url",
    [
        "http://sns.eu-west-1.amazonaws.com/SimpleNotificationService-a.pem",
        "https://sns.eu-west-1.amazonaws.com.attacker.example/SimpleNotificationService-a.pem",
        "https://sns.eu-west-1.amazonaws.com@attacker.example/SimpleNotificationService-a.pem",
        "https://attacker.example/SimpleNotificationService-a.pem",
        "https://sns.eu-west-1.amazonaws.com:8443/SimpleNotificationService-a.pem",
        "https://user:pass@sns.eu-west-1.amazonaws.com/SimpleNotificationService-a.pem",
        "https://snsXeu-west-1.amazonaws.com/SimpleNotificationService-a.pem",
        "https://sns.eu-west-1.amazonaws.com/other/SimpleNotificationService-a.pem",
        "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-a.pem?x=1",
        "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-a.pem#x",
        "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-a.pem\n",
        "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-a.txt",
        "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-../../a.pem",
        "https://sns.eu-west-1.amazonaws.com\\.attacker.example/SimpleNotificationService-a.pem",
        "https://sns.eu-west-1.amazonaws.co/SimpleNotificationService-a.pem",
        "https://\u017fns.eu-west-1.amazonaws.com/SimpleNotificationService-a.pem",
        "https://sns.s3.amazonaws.com/SimpleNotificationService-a.pem",
        "https://sns.s3-eu-west-1.amazonaws.com/SimpleNotificationService-a.pem",
        "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-a.pem",
        "https://sns.eu-west-1.amazonaws.com.cn/SimpleNotificationService-a.pem",
        "file:///etc/SimpleNotificationService-a.pem",
        "",
    ],
)
def test_a_certificate_is_asked_for_nowhere_but_at_sns(url):
    sns = Sns()

    assert sns.status(posted(SigningCertURL=url)) == 403
    assert sns.asked == []


def test_the_port_of_https_may_be_written_and_makes_no_other_address():
    sns = Sns()
    sns.take(posted(SigningCertURL=CERTIFICATE.replace(".com/", ".com:443/")))
    sns.take(posted())

    assert sns.asked == [CERTIFICATE]


def test_a_china_region_has_its_own_address():
    topic, url = TOPIC.replace("aws", "aws-cn", 1), CERTIFICATE.replace(".com/", ".com.cn/")
    sns = Sns(topics=[topic])
    sns.there = {url: certificate()}

    assert sns.take(posted(TopicArn=topic, SigningCertURL=url)).topic == topic


@pytest.mark.parametrize(
    ("pem", "words"),
    [
        (certificate(days=(-9, -1)), "expired"),
        (certificate(days=(1, 9)), "not valid yet"),
        (certificate("sns.attacker.example"), "not issued for SNS"),
        (certificate("xsns.amazonaws.com"), "not issued for SNS"),
        (certificate(bits=1_024), "2,048 bits"),
        (certificate() * 2, "exactly one PEM certificate"),
        (
            certificate() + b"-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n",
            "exactly one PEM certificate",
        ),
        (b"x" + certificate(), "exactly one PEM certificate"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "not a certificate"),
    ],
)
def test_a_bad_certificate_is_refused_and_fetched_once(pem, words):
    sns = Sns(pem)
    body = json.dumps(signed(message(), bits=1_024 if pem == certificate(bits=1_024) else 2_048)).encode()
    for _ in range(3):
        with pytest.raises(PushRefusedError, match=words):
            sns.take(body)

    assert sns.asked == [CERTIFICATE]


def test_a_certificate_is_judged_by_when_the_message_came():
    sns = Sns(certificate(days=(-1, 1)))
    sns.take(posted())

    assert sns.status(posted(), now_ms=NOW_MS + 2 * 86_400_000) == 403


def test_a_signature_by_another_key_is_refused():
    whole = signed(message(), bits=1_024)

    assert Sns().status(json.dumps(whole).encode()) == 403


@pytest.mark.parametrize("topic", ["arn:aws:sns:eu-west-1:123456789012:other", TOPIC.upper(), ""])
def test_only_configured_topics_are_accepted_before_anything_is_fetched(topic):
    sns = Sns()

    assert sns.status(posted(TopicArn=topic)) == 403
    assert sns.asked == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b"\xff",
        b"[" * 100_000,
        json.dumps(message()).encode(),
        json.dumps(signed(message()) | {"Type": "Other"}).encode(),
        json.dumps(signed(message()) | {"Message": {"a": 1}}).encode(),
        json.dumps(signed(message("SubscriptionConfirmation")) | {"Token": ""}).encode(),
        posted(MessageId="m-1\nTimestamp\n2026-03-01T12:00:00.000Z"),
        posted(Timestamp="2026\nTopicArn\nother"),
        posted(MessageId="m" * 101),
        posted("SubscriptionConfirmation", Token="t" * 4_097),
    ],
)
def test_what_is_no_sns_message_is_told_so(body):
    assert Sns().status(body) == 400


@pytest.mark.parametrize(
    "url",
    [
        CONFIRM.replace("https", "http", 1),
        CONFIRM.replace("eu-west-1.amazonaws", "us-east-1.amazonaws", 1),
        CONFIRM.replace("amazonaws.com", "amazonaws.com.attacker.example", 1),
        CONFIRM.replace("sns.eu-west-1", "x@sns.eu-west-1", 1),
        CONFIRM.replace("ConfirmSubscription", "Unsubscribe"),
        CONFIRM.replace("Token=t0k3n", "Token=other"),
        CONFIRM.replace("savings", "other"),
        CONFIRM + "&Action=DeleteTopic",
        CONFIRM + "#x",
        "http://169.254.169.254/latest/meta-data/",
    ],
)
def test_a_subscription_is_confirmed_nowhere_but_at_sns_of_its_region(url):
    assert Sns().status(posted("SubscriptionConfirmation", SubscribeURL=url)) == 403


def test_raw_delivery_needs_the_password_of_the_address():
    raw = {
        "x-amz-sns-rawdelivery": "true",
        "x-amz-sns-message-type": "Notification",
        "x-amz-sns-topic-arn": TOPIC,
        "x-amz-sns-message-id": "m-9",
    }
    login = {"authorization": "Basic c25zOnMzY3JldA=="}  # sns:s3cret

    assert Sns().status(b"{}", raw) == 403
    assert Sns(password="sns:s3cret").status(b"{}", raw) == 401  # the challenge: SNS sends the password after it
    assert Sns(password="sns:s3cret").status(b"{}", raw | {"authorization": "Basic c25zOm90aGVy"}) == 403
    assert Sns(password="sns:s3cret").status(b"{}", raw | login | {"x-amz-sns-topic-arn": "other"}) == 403
    assert Sns(password="sns:s3cret").take(b"{}", raw | login).id == "m-9"
    assert Sns(password="sns:s3cret").status(posted()) == 401  # a signed one needs it as well then


@pytest.mark.parametrize("password", ["", ":", "s3cret"])
def test_a_password_without_its_user_is_refused_when_the_source_is_opened(password):
    with pytest.raises(UsageError, match="USER:PASSWORD"):
        Sns(password=password)


def test_addresses_that_anybody_names_are_asked_a_few_times_a_minute_and_the_known_one_stays():
    clock, asked = [0.0], list[str]()

    def fetch(url: str) -> bytes:
        asked.append(url)
        if url == CERTIFICATE:
            return certificate()
        raise LookupError(404)

    known = Certificates(fetch, lambda: clock[0])
    known.fetch(CERTIFICATE)
    urls = [f"https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-{n}.pem" for n in range(300)]
    for url in urls[: FETCHES_A_MINUTE - 1]:
        known.fetch(url)
    with pytest.raises(TransientError):
        known.fetch(urls[-1])
    assert len(asked) == FETCHES_A_MINUTE

    for url in urls:
        clock[0] += 60
        known.fetch(url)
    assert known.known(CERTIFICATE) is not None
    assert len(known._refused) <= sns_certificates.KNOWN_MAX


@pytest.mark.parametrize(
    "there", [{}, {CERTIFICATE: certificate()[:600]}, {CERTIFICATE: b""}, {CERTIFICATE: b"<html>"}]
)
def test_a_certificate_that_is_not_there_or_not_whole_is_asked_for_again_after_a_minute(there):
    clock, there = [0.0], dict(there)
    known = Certificates(there.__getitem__, lambda: clock[0])
    known.fetch(CERTIFICATE)
    with pytest.raises(TransientError):
        known.known(CERTIFICATE)
    there[CERTIFICATE] = certificate()
    clock[0] = MISSING_S
    known.fetch(CERTIFICATE)

    assert known.known(CERTIFICATE) is not None


def test_a_certificate_that_cannot_be_had_now_is_asked_for_again():
    answers = iter([TransientError("away"), certificate()])

    def fetch(_url: str) -> bytes:
        found = next(answers)
        if isinstance(found, Exception):
            raise found
        return found

    source = SnsSource({"topics": [TOPIC]}, fetch)
    with pytest.raises(TransientError):
        source.fetch(CERTIFICATE)
    source.fetch(CERTIFICATE)

    assert source.verified({}, posted(), NOW_MS).id == "m-1"


def test_certificates_of_a_folder_are_used_and_nobody_is_asked(tmp_path):
    sns = Sns(certificates=str(tmp_path))
    with pytest.raises(TransientError, match="not in the folder"):
        sns.take(posted())
    (tmp_path / CERTIFICATE.rpartition("/")[2]).write_bytes(certificate())

    assert sns.take(posted()).id == "m-1"
    assert sns.asked == []
