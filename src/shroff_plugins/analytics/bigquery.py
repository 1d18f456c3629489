"""Loads files into BigQuery over its REST API: one job for each file, with an id that identifies the file.

BigQuery accepts a job id once, for as long as it remembers the job. So it refuses a retry of an accepted job with
status 409, and nothing is loaded twice. A failed job has loaded nothing; the next run tries its file under the next id,
with suffix `_2`, and so on.

A file above `PART_BYTES` is uploaded in parts, in a session of BigQuery that tells how many bytes it has. So memory is
bounded by one part, and a broken connection costs at most one part. An expired session is restarted under the same id.

Sources: https://cloud.google.com/bigquery/docs/reference/rest/v2/jobs/insert
    https://cloud.google.com/bigquery/docs/reference/api-uploads#resumable
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from msgspec.json import decode as from_json
from msgspec.json import encode as to_json

from shroff.errors import StateError, TransientError, UsageError
from shroff.json_types import JsonObject, TextDict, TextMapping
from shroff.plugins.databases import is_loopback
from shroff.plugins.http import Calls, HttpAnswer, reason, target_of
from shroff.plugins.values import FrozenStruct

ENDPOINT = "https://bigquery.googleapis.com"
ANSWER_BYTES_MAX = 1 << 20
WAITS_S = (0.5, 1.0, 2.0, 4.0, 8.0)  # between tries of one call
POLL_S = 1.0
POLLS_MAX = 1_800  # half an hour for one job
TRIES_MAX = 20  # failed jobs of one file that are skipped
PART_BYTES = 8 << 20  # of an upload in parts, a multiple of 256 KiB; a smaller file is sent at once
SESSIONS_MAX = 5  # expired sessions of one file in a row; each lasts a week
_RANGE = re.compile(r"bytes=0-(\d{1,15})")
_GONE = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.GONE})
_AGAIN = frozenset({408, 429, 500, 502, 503, 504})
_FORMATS = {"parquet": "PARQUET", "ndjson": "NEWLINE_DELIMITED_JSON"}
_BOUNDARY = "=_shroff"
_JSON = "application/json; charset=UTF-8"
_BYTES = "application/octet-stream"


class LoadFile(FrozenStruct):
    """A file to load.

    Args:
        name: Unique name of letters, digits, `-` and `_`; part of the job's id.
        format: `parquet` or `ndjson`.
        schema: The columns, as BigQuery names them.
    """

    path: Path
    table: str
    name: str
    format: str
    schema: Sequence[TextMapping]


class BigQuery:
    """Load jobs of one dataset.

    Args:
        target: `PROJECT.DATASET`; the dataset must exist.
        token: An access token of OAuth.
        endpoint: Server to use instead of Google's.

    Raises: UsageError if the target or the endpoint is not valid.
    """

    def __init__(
        self,
        target: str,
        token: str,
        calls: Calls,
        *,
        endpoint: str = ENDPOINT,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._project, _, self._dataset = target.rpartition(".")
        if not self._project or not self._dataset:
            raise UsageError(f"{target!r} is not a dataset. Write it as PROJECT.DATASET.")
        address = urlsplit(endpoint)
        if (
            address.scheme not in {"http", "https"}
            or not address.hostname
            or (address.scheme == "http" and not is_loopback(address.hostname))
        ):
            raise UsageError(
                f"{endpoint!r} is not an address of BigQuery: it begins with https://, since a token is sent."
            )
        self._client = calls.client(address.scheme, address.hostname, address.port, answer_bytes_max=ANSWER_BYTES_MAX)
        self._token = token
        self._sleep = sleep
        self._at = f"/bigquery/v2/projects/{quote(self._project, safe=':')}"
        self._location = ""
        self._has_lost_reply = False

    def load(self, file: LoadFile) -> bool:
        """Load a file, unless a job with its name has loaded it before; return whether it was loaded now.

        Raises: StateError if BigQuery refuses the job or the job fails; TransientError if BigQuery cannot be reached.
        """
        if not self._location:  # a job outside the US and EU is found only with its location
            self._location = str(
                self._parse(self._call("GET", f"{self._at}/datasets/{quote(self._dataset)}"))["location"]
            )
        for number in range(1, TRIES_MAX + 1):
            id_ = f"shroff_{self._dataset}_{file.table}_{file.name}" + (f"_{number}" if number > 1 else "")
            self._client.close()  # a request on a persistent connection may be sent twice unseen
            self._has_lost_reply = False
            answer = self._upload(file, self._config(file, id_))
            is_new = answer.status != HTTPStatus.CONFLICT
            is_own = is_new or self._has_lost_reply
            job = self._parse(answer) if is_new else self._job(id_)
            failure = self._wait_for_end(id_, job)
            if not failure:
                return is_own
            if is_new:
                raise StateError(f"BigQuery could not load {file.path} into {self._dataset}.{file.table}: {failure}")
        raise StateError(f"{TRIES_MAX} jobs failed to load {file.path}; look at them in BigQuery's job history")

    def close(self) -> None:
        self._client.close()

    def _config(self, file: LoadFile, id_: str) -> bytes:
        load: JsonObject = {
            "destinationTable": {"projectId": self._project, "datasetId": self._dataset, "tableId": file.table},
            "sourceFormat": _FORMATS[file.format],
            "schema": {"fields": file.schema},
            "createDisposition": "CREATE_IF_NEEDED",
            "writeDisposition": "WRITE_APPEND",
            "schemaUpdateOptions": ["ALLOW_FIELD_ADDITION"],
        }
        if file.format == "parquet":
            load["parquetOptions"] = {"enableListInference": True}  # otherwise a list becomes a record of records
        reference = {"projectId": self._project, "jobId": id_, "location": self._location}
        return to_json({"jobReference": reference, "configuration": {"load": load}})

    def _upload(self, file: LoadFile, config: bytes) -> HttpAnswer:
        """Send a job and its file; return the answer with the job, or the refusal."""
        upload_path = f"/upload{self._at}/jobs?uploadType="
        size = file.path.stat().st_size
        if size <= PART_BYTES:
            # The job's configuration and its bytes as `multipart/related`, with the header for that.
            parts = ((_JSON, config), (_BYTES, file.path.read_bytes()))
            body = [
                b"--%s\r\nContent-Type: %s\r\n\r\n%s\r\n" % (_BOUNDARY.encode(), kind.encode(), content)
                for kind, content in parts
            ]
            return self._call(
                "POST",
                f"{upload_path}multipart",
                b"".join([*body, f"--{_BOUNDARY}--\r\n".encode()]),
                {"Content-Type": f"multipart/related; boundary={_BOUNDARY}"},
            )
        headers = {"Content-Type": _JSON, "X-Upload-Content-Type": _BYTES, "X-Upload-Content-Length": str(size)}
        for _ in range(SESSIONS_MAX):
            session_answer = self._call("POST", f"{upload_path}resumable", config, headers)
            if session_answer.status != HTTPStatus.OK:
                return session_answer
            # Without its host, so that the token goes to no other server.
            session = target_of(urlsplit(session_answer.headers.get("Location", "")))
            if (answer := self._parts(session, file.path, size)) is not None:
                return answer
        raise TransientError(
            f"{SESSIONS_MAX} upload sessions of BigQuery expired in a row for {file.path}. Run the command again; "
            "nothing is loaded twice"
        )

    def _parts(self, session: str, path: Path, size: int) -> HttpAnswer | None:
        """Send the rest of a file in a session; return None if the session has expired.

        Raises: TransientError if the session accepts no more bytes during all retries.
        """
        offset = 0
        waits = iter(WAITS_S)
        with path.open("rb") as file:
            while True:
                file.seek(offset)
                answer = self._part(session, file.read(PART_BYTES), offset, size)
                if answer.status in _GONE:
                    return None
                if answer.status != HTTPStatus.PERMANENT_REDIRECT:
                    return answer
                received = _RANGE.fullmatch(answer.headers.get("Range", ""))
                last_offset = offset
                offset = int(received[1]) + 1 if received else 0
                if offset > last_offset:
                    waits = iter(WAITS_S)
                elif (wait_s := next(waits, None)) is not None:
                    self._sleep(wait_s)
                else:
                    raise TransientError(
                        f"BigQuery takes no more than {offset:,} of {size:,} bytes of {path}. Run again"
                    )

    def _part(self, session: str, part: bytes, offset: int, size: int) -> HttpAnswer:
        """Send a part; if that fails, return an answer with the number of bytes received."""
        ask = {"Content-Range": f"bytes */{size}"}
        if not part:
            return self._call("PUT", session, b"", ask)
        try:
            content_range = {"Content-Range": f"bytes {offset}-{offset + len(part) - 1}/{size}"}
            answer = self._client.call("PUT", session, part, self._with_token(content_range))
        except OSError:
            return self._call("PUT", session, b"", ask)
        return self._call("PUT", session, b"", ask) if answer.status in _AGAIN else answer

    def _with_token(self, headers: TextMapping | None) -> TextDict:
        return {"Authorization": f"Bearer {self._token}", **(headers or {})}

    def _wait_for_end(self, id_: str, job: Any) -> str:
        """Wait for the end of a job; return why it failed, in BigQuery's words, or an empty text."""
        for _ in range(POLLS_MAX):
            if job["status"]["state"] == "DONE":
                failure = job["status"].get("errorResult")
                if failure is None:
                    return ""
                return str(failure.get("message") or failure.get("reason") or "no reason given")
            self._sleep(POLL_S)
            job = self._job(id_)
        raise TransientError(
            f"job {id_} of BigQuery did not end within {POLLS_MAX * POLL_S / 60:.0f} minutes; run again"
        )

    def _job(self, id_: str) -> Any:
        return self._parse(self._call("GET", f"{self._at}/jobs/{id_}?location={quote(self._location)}"))

    def _parse(self, answer: HttpAnswer) -> Any:
        try:
            document = from_json(answer.body)
            if answer.status == HTTPStatus.OK:
                return document
            message = str(document["error"]["message"])[:500]
        except (ValueError, KeyError, TypeError):
            message = "no more is said"
        hint = " Is BIGQUERY_TOKEN still valid?" if answer.status == HTTPStatus.UNAUTHORIZED else ""
        raise StateError(f"BigQuery answers with status {answer.status}: {message}{hint}")

    def _call(
        self, method: str, target: str, body: bytes | None = None, headers: TextMapping | None = None
    ) -> HttpAnswer:
        """Repeat a call until the answer is not that the server is busy. Raises: TransientError after the last try."""
        all_headers = self._with_token(headers)
        failure = ""
        for wait_s in (*WAITS_S, None):
            try:
                answer = self._client.call(method, target, body, all_headers)
            except OSError as error:
                self._has_lost_reply = True
                failure = reason(error)
            else:
                if answer.status not in _AGAIN:
                    return answer
                failure = f"status {answer.status}"
            if wait_s is not None:
                self._sleep(wait_s)
        raise TransientError(f"BigQuery cannot be reached: {failure}. Run the command again; nothing is loaded twice")
