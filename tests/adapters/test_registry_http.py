"""A registry over HTTP that is away, asks for a password, or is none: words with address and cure, no credentials."""

from __future__ import annotations

import base64
import json
import re
import ssl
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from ipaddress import ip_address
from pathlib import Path
from threading import Thread

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat

from shroff.adapters.http_calls import Calls
from shroff.adapters.registry import http as registry_http
from shroff.adapters.registry.http import HttpRegistry
from shroff.errors import SchemasAwayError, UsageError
from shroff.services import project as app
from tests.support.projects import FILES

SECRET = "s3cr:t/"
ANSWERED = {"schema": '{"type": "record", "name": "r", "fields": []}'}


@contextmanager
def answering(*answers, certificate=None, trusts=None):
    """A server that gives these answers one after the other, each (status, document, headers); then it hangs up."""
    given, seen = list(answers), []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            seen.append((self.path, self.headers.get("Authorization")))
            status, document, *headers = given.pop(0)
            body = document if isinstance(document, bytes) else json.dumps(document).encode()
            self.send_response(status)
            for name, value in headers:
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            self.close_connection = ("X-Hangs-Up", "yes") in headers

        def log_message(self, *_):
            pass

    server = Quiet(("127.0.0.1", 0), Handler)
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        if trusts is not None:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(trusts)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_port}", seen
    finally:
        server.shutdown()
        server.server_close()


class Quiet(HTTPServer):
    """A server whose clients may hang up."""

    def handle_error(self, *_):
        pass


def asked(address: str, **settings) -> str | None:
    with closing(HttpRegistry(address, Calls(timeout_s=120, **settings))) as registry:
        return registry.schema(7)


@pytest.fixture
def certificate(tmp_path):
    """A file with a certificate of 127.0.0.1 that nobody has signed, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "registry")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path = tmp_path / "registry.pem"
    path.write_bytes(made.public_bytes(Encoding.PEM) + private)
    return str(path)


def test_user_and_password_of_the_address_log_in_and_are_shown_nowhere():
    with answering((200, ANSWERED), (500, {"message": "down"})) as (host, seen):
        address = f"http://reader:{SECRET.replace('/', '%2F').replace(':', '%3A')}@{host}/registry/"
        with closing(HttpRegistry(address)) as registry:
            assert registry.schema(7) == ANSWERED["schema"]
            assert "s3cr" not in repr(registry) + registry.address
            with pytest.raises(SchemasAwayError) as away:
                registry.schema(7)

    assert seen[0] == ("/registry/schemas/ids/7", f"Basic {base64.b64encode(f'reader:{SECRET}'.encode()).decode()}")
    assert str(away.value) == f"the schema registry at http://{host}/registry answers 500."
    assert "s3cr" not in str(away.value)


@pytest.mark.parametrize(
    "status, words",
    [
        (401, "asks for a user and a password"),
        (403, "lacks permission"),
        (404, "no such path"),
        (302, "Is it a schema"),
    ],
)
def test_an_answer_that_says_nothing_of_schemas_is_the_registry_being_away(status, words):
    answer = (status, {"error_code": status}, ("Location", "http://127.0.0.1:1/"))
    with answering(answer) as (host, seen), pytest.raises(SchemasAwayError, match=words):
        asked(f"http://{host}")

    assert len(seen) == 1


def test_a_page_in_place_of_a_registry_is_the_registry_being_away():
    with answering((200, b"<html>")) as (host, _), pytest.raises(SchemasAwayError, match="Is it a schema registry"):
        asked(f"http://{host}")


def test_nobody_at_the_address_is_said_with_the_address_and_a_cure():
    with answering() as (host, _):
        pass

    with pytest.raises(SchemasAwayError, match=rf"http://{host} cannot be reached: .*refused\. Check that it runs"):
        asked(f"http://reader:{SECRET[:4]}@{host}")


def test_a_connection_that_the_server_closed_is_opened_again():
    answers = (200, ANSWERED, ("X-Hangs-Up", "yes")), (200, ANSWERED)
    with answering(*answers) as (host, seen), closing(HttpRegistry(f"http://{host}")) as registry:
        assert [registry.schema(7), registry.schema(8)] == [ANSWERED["schema"]] * 2

    assert [path for path, _ in seen] == ["/schemas/ids/7", "/schemas/ids/8"]


def test_an_unknown_id_is_nothing_and_neither_protobuf_nor_references_are_read():
    answers = (
        (404, {"error_code": 40403, "message": "Schema not found"}),
        (200, {"schemaType": "PROTOBUF", "schema": "syntax"}),
        (200, {**ANSWERED, "references": [{"name": "other"}]}),
    )
    with answering(*answers) as (host, _), closing(HttpRegistry(f"http://{host}")) as registry:
        assert registry.schema(7) is None
        with pytest.raises(UsageError, match="schema 7 is of PROTOBUF"):
            registry.schema(7)
        with pytest.raises(UsageError, match="refers to other schemas"):
            registry.schema(7)


def test_an_answer_without_end_is_not_read_to_its_end(monkeypatch):
    monkeypatch.setattr(registry_http, "ANSWER_BYTES_MAX", 100)
    with answering((200, b"x" * 1_000)) as (host, _), pytest.raises(SchemasAwayError, match="longer than 100 bytes"):
        asked(f"http://{host}")


def test_encrypted_means_verified(tmp_path, certificate):
    with answering((200, ANSWERED), certificate=certificate) as (host, _):
        with pytest.raises(SchemasAwayError, match=r"its certificate is not trusted \(self.signed certificate\)"):
            asked(f"https://{host}")
        with pytest.raises(SchemasAwayError, match="its certificate is not trusted"):
            asked(f"https://localhost:{host.partition(':')[2]}", ca=certificate)
        assert asked(f"https://{host}", ca=certificate) == ANSWERED["schema"]
    with pytest.raises(UsageError, match="cannot be read as certificates"):
        Calls(ca=str(tmp_path / "none.pem"))


def test_a_registry_that_asks_who_we_are_gets_our_certificate(tmp_path, certificate):
    parts = re.split(r"(?=-----BEGIN PRIVATE)", Path(certificate).read_text())
    cert, key = tmp_path / "client.pem", tmp_path / "client.key"
    cert.write_text(parts[0])
    key.write_text(parts[1])
    with answering(*[(200, ANSWERED)] * 2, certificate=certificate, trusts=certificate) as (host, _):
        assert asked(f"https://{host}", ca=certificate, cert=str(cert), key=str(key)) == ANSWERED["schema"]
        assert asked(f"https://{host}", ca=certificate, cert=certificate) == ANSWERED["schema"]
        with pytest.raises(SchemasAwayError, match="cannot be reached"):
            asked(f"https://{host}", ca=certificate)


def test_a_key_with_a_password_is_refused_and_nobody_is_asked_for_it(tmp_path, certificate):
    key = ec.generate_private_key(ec.SECP256R1())
    locked = tmp_path / "locked.key"
    locked.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(SECRET.encode())))

    with pytest.raises(UsageError, match="has a password: give it without one"):
        Calls(cert=certificate, key=str(locked))


def test_certificates_for_an_address_in_the_clear_are_a_mistake(certificate):
    with pytest.raises(UsageError, match=r"certificates are for https://.*http://registry\.example"):
        HttpRegistry("http://registry.example", Calls(ca=certificate))


def test_the_settings_of_a_project_name_files_from_its_folder(tmp_path, certificate):
    folder = tmp_path / "bank"
    files = {**FILES, "shroff.yaml": FILES["shroff.yaml"]}
    with answering(*[(200, ANSWERED)] * 2, certificate=certificate, trusts=certificate) as (host, _):
        files["shroff.yaml"] += (
            "source: { kafka: { brokers: 'h:9', topics: { payment: p }, format: avro, "
            f"registry: {{ url: 'https://{host}', ca: ../registry.pem, cert: ../registry.pem }} }} }}\n"
        )
        for name, text in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text, encoding="utf-8")
        project = app.open(folder)
        assert project.context.systems.source is not None
        with closing(project.outside.open_registry(project.context.systems.source)) as registry:
            assert registry.schema(7) == ANSWERED["schema"]


@pytest.mark.parametrize(
    "address",
    ["ftp://h", "http://", f"h:{SECRET}", f"http://u:{SECRET[:4]}@h:99999", "http://h/?key=1", "http://h/\r\nX: y"],
)
def test_what_is_no_address_is_refused_without_repeating_it(address):
    with pytest.raises(UsageError, match="the address of a schema registry is") as refused:
        HttpRegistry(address)

    assert "s3cr" not in str(refused.value)
