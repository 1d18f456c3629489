"""A stand-in of BigQuery's REST API: load jobs whose ids are taken once, and tables that hold what they loaded."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from time import sleep
from typing import Any

import pyarrow.parquet as pq

TOKEN = "t0ken"
AT = "/bigquery/v2/projects/bank"
PLACE = "europe-west1"
QUANTUM = 256 * 1024  # of the parts of an upload, but for the last one


@dataclass
class Session:
    """An upload in parts: what it has of a file, and the answer to its last part."""

    job: dict[str, Any]
    size: int
    data: bytearray = field(default_factory=bytearray)
    answer: tuple[int, dict[str, Any]] | None = None


class BigQueryStandIn:
    """What it holds. `faults` are carried out by the next uploads: `busy`, `lost` (done, and no answer), `failed`.

    `part_faults` by the next parts: `busy`, `lost`, `cut` (amid the body), `less` (keeps a part of it), `none` (keeps
    nothing of it), `expired`.
    """

    def __init__(self) -> None:
        self.url = ""
        self.jobs: dict[str, dict[str, Any]] = {}
        self.rows: dict[str, list[dict[str, Any]]] = {}
        self.schemas: dict[str, list[dict[str, str]]] = {}
        self.faults: list[str] = []
        self.failure = {"message": "no such column"}
        self.part_faults: list[str] = []
        self.sessions: dict[str, Session] = {}
        self.parts: list[int] = []
        self.delay_s = 0.0

    def insert(self, job: dict[str, Any], data: bytes) -> tuple[int, dict[str, Any]]:
        fault = self.faults.pop(0) if self.faults else ""
        if fault == "busy":
            return 503, {"error": {"message": "try again"}}
        id_ = job["jobReference"]["jobId"]
        assert re.fullmatch(r"[A-Za-z0-9_-]{1,1024}", id_)
        if id_ in self.jobs:
            return 409, {"error": {"message": f"Already Exists: Job {id_}"}}
        answer = {"jobReference": job["jobReference"], "status": {"state": "RUNNING"}}
        self.jobs[id_] = answer | {"status": {"state": "DONE"}}
        if fault == "failed":
            self.jobs[id_]["status"]["errorResult"] = self.failure
        else:
            self._load(job["configuration"]["load"], data)
        return (0, {}) if fault == "lost" else (200, answer)

    def begin(self, job: dict[str, Any], size: int) -> str:
        """A session for the bytes of a job: where they go."""
        self.sessions[id_ := str(len(self.sessions) + 1)] = Session(job, size)
        return f"{self.url}/upload{AT}/jobs?uploadType=resumable&upload_id={id_}"

    def part(self, id_: str, span: str, body: bytes) -> tuple[int, dict[str, Any], str]:
        """Take a part, or say how far a session is: status, document and `Range`."""
        fault = self.part_faults.pop(0) if body and self.part_faults else ""
        if fault == "expired":
            self.sessions.pop(id_)
        session = self.sessions.get(id_)
        if session is None:
            return 410, {"error": {"message": "session is gone"}}, ""
        if fault == "busy":
            return 503, {"error": {"message": "try again"}}, ""
        if body and session.answer is None:
            self._take(session, span, body, fault)
        if len(session.data) == session.size and session.answer is None:
            session.answer = self.insert(session.job, bytes(session.data))
        if fault in {"lost", "cut"}:
            return 0, {}, ""
        has = f"bytes=0-{len(session.data) - 1}" if session.data else ""
        return (*session.answer, "") if session.answer else (308, {}, has)

    def _take(self, session: Session, span: str, body: bytes, fault: str) -> None:
        first, last, size = map(int, re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", span).groups())
        assert (last - first + 1, size) == (len(body), session.size)
        assert first <= len(session.data)
        assert last + 1 == size or len(body) % QUANTUM == 0
        self.parts.append(len(body))
        kept = body[: {"cut": len(body) // 2 // QUANTUM * QUANTUM, "less": QUANTUM, "none": 0}.get(fault, len(body))]
        session.data += kept[len(session.data) - first :]  # bytes that it has are passed over

    def _load(self, load: dict[str, Any], data: bytes) -> None:
        assert (load["writeDisposition"], load["createDisposition"]) == ("WRITE_APPEND", "CREATE_IF_NEEDED")
        table, fields = load["destinationTable"]["tableId"], load["schema"]["fields"]
        required = {item["name"] for item in fields if item["mode"] == "REQUIRED"}
        if load["sourceFormat"] == "PARQUET":
            found = pq.read_table(io.BytesIO(data))
            assert {item.name for item in found.schema if not item.nullable} == required & set(found.schema.names)
            assert load["parquetOptions"] == {"enableListInference": True}
            rows = found.to_pylist()
        else:
            rows = [json.loads(line) for line in data.splitlines()]
        for row in rows:
            assert row.keys() <= {item["name"] for item in fields}
            assert all(row.get(name) is not None for name in required)
        self.schemas[table] = fields
        self.rows.setdefault(table, []).extend(rows)


@contextmanager
def bigquery() -> Iterator[BigQueryStandIn]:
    """A stand-in that answers on loopback."""
    held = BigQueryStandIn()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # else each answer waits 40 ms

        def do_GET(self) -> None:
            path, _, query = self.path.partition("?")
            if path == f"{AT}/datasets/fraud":
                self.answer(200, {"location": PLACE})
            elif path.startswith(f"{AT}/jobs/") and query == f"location={PLACE}":
                self.answer(200, held.jobs[path.rpartition("/")[2]])
            else:
                self.answer(404, {"error": {"message": f"Not found: {path}"}})

        def do_PUT(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            sleep(held.delay_s)
            status, document, has = held.part(
                self.path.rpartition("upload_id=")[2], self.headers["Content-Range"], body
            )
            self.answer(status, document, {"Range": has} if has else {})

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.path == f"/upload{AT}/jobs?uploadType=resumable":
                size = int(self.headers["X-Upload-Content-Length"])
                self.answer(200, {}, {"Location": held.begin(json.loads(body), size)})
                return
            assert self.path == f"/upload{AT}/jobs?uploadType=multipart"
            mark = self.headers["Content-Type"].partition("boundary=")[2].encode()
            _, config, rest = body.split(b"--" + mark + b"\r\n")
            data = rest.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n--" + mark + b"--\r\n")
            self.answer(*held.insert(json.loads(config.partition(b"\r\n\r\n")[2]), data))

        def answer(self, status: int, document: dict[str, Any], headers: dict[str, str] | None = None) -> None:
            if self.headers["Authorization"] != f"Bearer {TOKEN}":
                status, document = 401, {"error": {"message": "Invalid Credentials"}}
            if not status:
                self.close_connection = True
                return
            body = json.dumps(document).encode()
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    held.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield held
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
