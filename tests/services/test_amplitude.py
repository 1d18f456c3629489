"""Days of Amplitude's export: each event once, whatever the API answers on the way."""

from __future__ import annotations

import io
import json
import stat
import zipfile
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from shroff.cli.main import run
from shroff.errors import TransientError, UsageError
from shroff.events.formats.encodings import read_lines
from shroff.events.intake import Submission
from shroff.services import project as app
from shroff.services.sources import archives
from shroff.services.sources import pulled as sync_sources
from shroff.services.sources.pulled import NOT_KEPT, SyncedFile
from shroff.services.sources.pulled_files import DONE
from shroff.streams.pull import PullPlace
from shroff.worker import ingest
from shroff_plugins.connectors import amplitude as adapter
from tools.amplitude import API_KEY, SECRET_KEY, AmplitudeServer, amplitude, packed

NOW_MS = int(datetime(2026, 3, 4, 3, 0, tzinfo=UTC).timestamp() * 1_000)  # three days have ended three hours ago
EVENTS = """
activity:
  id: activity_id
  time: happened_at
  fields: { activity_id: text, happened_at: time, name: text, insert: text? unique within 7d }
  from:
    json:
      activity_id: join(row.app, ':', row.uuid)
      insert: join(row.app, ':', row.device_id, ':', row['$insert_id'])
      happened_at: time(row.event_time, '%Y-%m-%d %H:%M:%S.%f')
      name: row.event_type
"""
SHROFF = """shroff: 1
name: app
money: EUR
lateness: 30d
sources:
  app:
    amplitude:
      api_key: ${{AMPLITUDE_API_KEY}}
      secret_key: ${{AMPLITUDE_SECRET_KEY}}
      from: 2026-03-01
      url: {url}
"""


@pytest.fixture(name="server")
def _server() -> Iterator[AmplitudeServer]:
    with amplitude() as server:
        yield server


@pytest.fixture(name="bank")
def _bank(server: AmplitudeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "shroff.yaml").write_text(SHROFF.format(url=server.url))
    (tmp_path / "events.yaml").write_text(EVENTS)
    monkeypatch.setenv("AMPLITUDE_API_KEY", API_KEY)
    monkeypatch.setenv("AMPLITUDE_SECRET_KEY", SECRET_KEY)
    monkeypatch.setattr(
        sync_sources, "PullPlace", lambda name, folder, _, *rest: PullPlace(name, folder, lambda: NOW_MS, *rest)
    )
    return tmp_path


def event(number: int, **changes: Any) -> dict[str, Any]:
    own = {"app": 1, "device_id": "d", "$insert_id": f"i{number}", "uuid": f"u{number}", "event_type": "Opened"}
    return {**own, "event_time": f"2026-03-01 07:{number // 60:02}:{number % 60:02}.000000", **changes}


def sync(bank: Path, **how: Any) -> list[SyncedFile]:
    return list(app.open(bank).pulled.sync("app", **how))


def counts(found: list[SyncedFile]) -> dict[str, tuple[int, int, int]]:
    """Of each day the events appended, duplicates, and lines in quarantine."""
    reports = {item.name: item.appended.events for item in found if item.appended is not None}
    return {name: (report.appended, report.duplicates, report.quarantined) for name, report in reports.items()}


def kept(bank: Path) -> list[str]:
    return sorted(path.name.rpartition("-")[0] for path in (bank / ".shroff" / "raw" / "app").glob("*.zip"))


def test_each_day_that_has_ended_is_taken_once_and_its_archive_is_kept(bank: Path, server: AmplitudeServer):
    server.events |= {"20260301T07": [event(1), event(2)], "20260301T23": [event(3)], "20260303T00": [event(4)]}

    assert counts(sync(bank)) == {"2026-03-01": (3, 0, 0), "2026-03-02": (0, 0, 0), "2026-03-03": (1, 0, 0)}
    assert server.asked[0].endswith("/api/2/export?start=20260301T00&end=20260301T23")
    assert kept(bank) == ["2026-03-01-1", "2026-03-03-1"]
    assert sync(bank) == []
    assert len(server.asked) == 3, "a day that was taken is not asked for again"


def test_of_a_day_that_is_asked_for_again_only_the_difference_comes(bank: Path, server: AmplitudeServer):
    server.events |= {"20260301T07": [event(1), event(2)]}
    sync(bank)

    (same,) = sync(bank, first="2026-03-01")
    assert (same.state, same.appended) == (DONE, None)
    server.events |= {"20260301T09": [event(2, uuid="u9"), event(3)]}
    assert counts(sync(bank, first="2026-03-01", last="2026-03-02")) == {"2026-03-01": (1, 3, 0)}
    assert kept(bank) == ["2026-03-01-1", "2026-03-01-1"], "two versions"
    with pytest.raises(UsageError, match="app has nothing from 2027-01-01 to 2027-01-01"):
        sync(bank, first="2027-01-01")


def test_an_insert_id_is_known_for_seven_days_whichever_day_was_taken_first(bank: Path, server: AmplitudeServer):
    def sent(uuid: str, at: str, **changes: Any) -> dict[str, Any]:
        return event(1, uuid=uuid, event_time=f"2026-02-{at}.000000", **changes)

    server.events |= {"20260302T07": [sent("a", "10 00:00:00"), sent("b", "17 00:00:00", device_id="other")]}
    server.events |= {"20260301T07": [sent("c", "17 00:00:00"), sent("d", "03 00:00:00"), sent("e", "17 00:00:01")]}
    server.events |= {"20260303T07": [sent("f", "17 00:00:00", **{"$insert_id": None}), sent("a", "10 00:00:00")]}

    assert counts(sync(bank, first="2026-03-02")) == {"2026-03-02": (2, 0, 0)}
    assert counts(sync(bank)) == {"2026-03-01": (1, 2, 0), "2026-03-03": (1, 1, 0)}


@pytest.mark.parametrize("hours", [5, 1])
def test_a_day_that_is_too_large_comes_in_parts(bank: Path, server: AmplitudeServer, hours: int):
    server.events |= {f"20260301T{hour:02}": [event(hour)] for hour in range(24)}
    server.hours_max = hours

    assert counts(sync(bank))["2026-03-01"] == (24, 0, 0)


def test_a_day_that_takes_too_long_comes_in_parts(bank: Path, server: AmplitudeServer):
    (bank / "shroff.yaml").write_text((bank / "shroff.yaml").read_text() + "      timeout: 1s\n")  # it stalls
    server.events |= {"20260301T07": [event(1)], "20260301T23": [event(2)]}
    server.failures = [1]

    assert counts(sync(bank))["2026-03-01"] == (2, 0, 0)
    assert server.asked[1].endswith("start=20260301T00&end=20260301T11")


def test_what_is_cut_off_is_asked_for_again(bank: Path, server: AmplitudeServer):
    server.events |= {"20260301T07": [event(1)]}
    server.failures = [0, 0]

    assert counts(sync(bank))["2026-03-01"] == (1, 0, 0)
    server.events |= {"20260303T07": [event(2)]}
    server.failures = [0, 0, 0]
    with pytest.raises(TransientError, match="the download is incomplete, 3 times"):
        sync(bank, first="2026-03-03")


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_server_that_has_too_much_to_do_loses_no_day(bank: Path, server: AmplitudeServer, status: int):
    server.events |= {"20260301T07": [event(1)], "20260302T07": [event(2)]}
    server.failures = [200, status]

    with pytest.raises(TransientError, match=f"Amplitude answers {status}"):
        sync(bank)
    assert counts(sync(bank)) == {"2026-03-02": (1, 0, 0), "2026-03-03": (0, 0, 0)}


def test_a_wrong_key_is_told_without_it(bank: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AMPLITUDE_SECRET_KEY", "wrong-one")

    with pytest.raises(UsageError, match=r"Amplitude refuses the export with 403\. Check the keys") as raised:
        sync(bank)
    assert "wrong-one" not in str(raised.value)


def test_a_damaged_hour_keeps_its_lines_before_that_and_the_other_hours(
    bank: Path, server: AmplitudeServer, capsys: pytest.CaptureFixture[str]
):
    damaged = packed([event(number) for number in range(50)])
    server.events |= {"20260301T05": b"no gzip", "20260301T06": damaged[:-30], "20260301T07": [event(55)]}

    (appended, duplicates, quarantined) = counts(sync(bank))["2026-03-01"]
    assert (duplicates, quarantined) == (0, 3), "a line for each damaged file, and one that is cut"
    assert 1 < appended <= 51
    assert run(["-C", str(bank), "quarantine", "show", "1"]) == 0
    assert "1_2026-03-01_5#0.json.gz' is incomplete or damaged" in capsys.readouterr().out


def test_what_was_kept_is_taken_again_without_asking(bank: Path, server: AmplitudeServer):
    bad = event(2, event_time="2026-03-01T07:00:02+00:00")
    server.events |= {"20260301T07": [event(1), bad]}
    server.events |= {"20260301T08": [event(3)]}
    server.hours_max = 8
    sync(bank)
    asked = len(server.asked)
    server.events = {}

    (again,) = sync(bank, first="2026-03-01", from_backup=True)
    assert counts([again]) == {"2026-03-01": (0, 2, 1)}
    mended = "time(row.event_time) when ends_with(row.event_time, '+00:00') else time(row"
    (bank / "events.yaml").write_text(EVENTS.replace("time(row", mended))
    (again,) = sync(bank, first="2026-03-01", from_backup=True)
    assert counts([again]) == {"2026-03-01": (1, 2, 0)}
    assert len(server.asked) == asked, "nobody is asked"


def test_a_large_archive_is_kept_in_pieces(bank: Path, server: AmplitudeServer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(archives, "PART_BYTES", 100)
    server.events |= {"20260301T07": [event(1), event(2)]}
    sync(bank, first="2026-03-01", last="2026-03-01")
    pieces = list((bank / ".shroff" / "raw" / "app").glob("*.zip"))

    assert len(pieces) > 2
    assert max(path.stat().st_size for path in pieces) == 100
    (again,) = sync(bank, first="2026-03-01", from_backup=True)
    assert counts([again]) == {"2026-03-01": (0, 2, 0)}


def test_of_several_downloads_the_newest_is_taken_again(bank: Path, server: AmplitudeServer):
    server.events |= {"20260301T07": [event(1, event_type="Old")]}
    sync(bank)
    server.events |= {"20260301T07": [event(2)], "20260302T07": [event(4)]}
    sync(bank, first="2026-03-01", last="2026-03-02")

    found = sync(bank, first="2026-03-01", last="2026-03-03", from_backup=True)
    assert counts(found) == {"2026-03-01": (0, 1, 0), "2026-03-02": (0, 1, 0), "2026-03-03": (0, 0, 0)}
    (bank / ".shroff" / "raw" / "app" / "2026-03-01.json").unlink()
    (again,) = sync(bank, first="2026-03-01", from_backup=True)
    assert counts([again]) == {"2026-03-01": (0, 2, 0)}, "without the list, all that is kept"


@pytest.mark.parametrize("place", ["", "lake: ./lake\n"])
def test_what_is_damaged_or_not_kept_is_told(place: str, bank: Path, server: AmplitudeServer):
    (bank / "shroff.yaml").write_text((bank / "shroff.yaml").read_text() + place)
    server.events |= {"20260301T07": [event(1)], "20260302T07": [event(2)]}
    sync(bank, first="2026-03-01", last="2026-03-02")

    with pytest.raises(UsageError, match="there is no stored archive of 2026-03-03 of app"):
        sync(bank, first="2026-03-03", from_backup=True)
    found = sync(bank, first="2026-03-01", last="2026-03-03", from_backup=True)
    assert [item.state for item in found] == [DONE, DONE, NOT_KEPT]
    folder = bank / ("lake" if place else ".shroff") / "raw" / "app"
    (archive,) = folder.glob("2026-03-01-1-*.zip")
    archive.write_bytes(archive.read_bytes()[:-1])
    with pytest.raises(UsageError, match=r"raw/app/2026-03-01-1-.* is damaged or gone"):
        sync(bank, first="2026-03-01", from_backup=True)


def test_a_day_with_many_bad_lines_is_suspicious_until_it_is_mended(
    bank: Path, server: AmplitudeServer, capsys: pytest.CaptureFixture[str]
):
    lines = [event(number) for number in range(57)]
    server.events |= {"20260301T07": [*lines, *(event(60 + n, event_time="?") for n in range(3))]}
    server.events |= {"20260302T07": [*lines, *(event(70 + n, event_time="?") for n in range(4))]}
    assert [item.suspicious for item in sync(bank)] == ["", "4 of 61 lines cannot be read", ""]

    project = app.open(bank)
    ((name, words, since_ms),) = project.notices.services().source_troubles()
    assert (name, words.partition(":")[0]) == ("source app", "2026-03-02 is suspicious")
    sync(bank, first="2026-03-02", from_backup=True)
    assert [at_ms for *_, at_ms in app.open(bank).pulled.troubles()] == [since_ms], "it is the same notice"
    assert run(["-C", str(bank), "sources", "list", "--json"]) == 0
    (told,) = json.loads(capsys.readouterr().out)["sources"]
    assert [(notice["file"], notice["why"]) for notice in told["suspicious"]] == [
        ("2026-03-02", "4 of 61 lines cannot be read")
    ]
    assert run(["-C", str(bank), "sources", "check"]) == 1
    text = (bank / "shroff.yaml").read_text()
    (bank / "shroff.yaml").write_text(text.replace("from: 2026-03-01", "from: 2026-03-01\n      suspicious: 7%"))
    assert [item.suspicious for item in sync(bank, first="2026-03-02", from_backup=True)] == [""]
    assert run(["-C", str(bank), "sources", "check"]) == 0


def test_each_line_is_read_once(bank: Path, server: AmplitudeServer, monkeypatch: pytest.MonkeyPatch):
    server.events |= {"20260301T07": [event(1), event(2)]}
    server.events |= {"20260303T07": [event(3, event_time="?"), event(4)]}
    read = list[str]()
    monkeypatch.setattr(
        sync_sources, "read_lines", lambda path, **named: read.append(path.name) or read_lines(path, **named)
    )

    assert counts(sync(bank)) == {"2026-03-01": (2, 0, 0), "2026-03-02": (0, 0, 0), "2026-03-03": (1, 0, 1)}
    assert [name for name in read if name != "2026-03-02.jsonl"] == ["2026-03-01.jsonl", "2026-03-03.jsonl"]


def test_a_day_is_as_suspicious_wherever_its_sync_was_killed(
    bank: Path, server: AmplitudeServer, monkeypatch: pytest.MonkeyPatch
):
    lines = [event(number, event_time="?" if number < 3 else event(number)["event_time"]) for number in range(50)]
    server.events |= {"20260301T07": lines}

    def batches(submissions: Iterable[Submission], _: int) -> Iterator[list[Submission]]:
        yield list(islice(submissions, 20))
        raise KeyboardInterrupt

    def killed() -> None:
        with monkeypatch.context() as patch:
            patch.setattr(ingest, "batches", batches)
            with pytest.raises(KeyboardInterrupt):
                sync(bank, first="2026-03-01")

    killed()
    assert app.open(bank).log.exists(), "some of its lines are in the log"
    (rest, *_) = sync(bank)
    assert (counts([rest]), rest.suspicious) == ({"2026-03-01": (30, 0, 0)}, "3 of 50 lines cannot be read")

    server.events["20260301T07"] = lines[3:]
    killed()
    assert len(list(app.open(bank).pulled.troubles())) == 1, "the mark stays until the day is whole again"
    assert [item.suspicious for item in sync(bank, first="2026-03-01")] == [""]


def test_a_day_of_which_an_hour_is_damaged_or_missing_is_suspicious_and_says_which(
    bank: Path, server: AmplitudeServer, capsys: pytest.CaptureFixture[str]
):
    whole = {f"20260301T{hour:02}": [event(hour * 20 + n) for n in range(20)] for hour in range(23)}
    server.events |= whole | {"20260301T06": packed(whole["20260301T06"])[:-30]}
    (day, *_) = sync(bank)
    assert day.suspicious == (
        "1 of 23 parts cannot be read to their end: T06 and there is no file of T23, between hours with 20 events "
        "or more"
    )
    assert run(["-C", str(bank), "sources", "check"]) == 1
    assert "T06" in capsys.readouterr().out
    assert run(["-C", str(bank), "quarantine", "list", "--json"]) == 0
    reasons = [entry["reason"] for entry in json.loads(capsys.readouterr().out)["entries"]]
    assert any(
        "_6#0.json.gz' is incomplete or damaged (EOFError): what follows here is missing" in reason
        for reason in reasons
    )

    server.events["20260301T06"] = whole["20260301T06"]
    server.events["20260301T23"] = [event(500)]  # few, and a file
    assert [item.suspicious for item in sync(bank, first="2026-03-01")] == [""]
    del server.events["20260301T11"], server.events["20260301T12"]
    assert [item.suspicious for item in sync(bank, first="2026-03-01")] == [
        "there is no file of T11, T12, between hours with 20 events or more"
    ]
    server.events["20260301T13"] = [event(501)]
    assert [item.suspicious for item in sync(bank, first="2026-03-01")] == [""], "beside a quiet hour it is quiet"


def test_so_many_hours_may_be_lost_as_the_settings_say(bank: Path, server: AmplitudeServer):
    server.events |= {f"20260301T{hour:02}": [event(hour * 20 + n) for n in range(20)] for hour in range(22)}
    server.events |= {"20260301T20": b"no gzip"}
    text = (bank / "shroff.yaml").read_text()
    (bank / "shroff.yaml").write_text(text.replace("from: 2026-03-01", "from: 2026-03-01\n      lost_hours: 3"))
    assert sync(bank)[0].suspicious == ""
    (bank / "shroff.yaml").write_text(text.replace("from: 2026-03-01", "from: 2026-03-01\n      lost_hours: 2"))
    server.events["20260301T21"] = [event(number) for number in range(600, 620)]
    assert "T22, T23" in sync(bank, first="2026-03-01")[0].suspicious


def archive_of(name: str, content: bytes, mode: int = 0) -> bytes:
    with io.BytesIO() as made:
        with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as opened:
            zip_info = zipfile.ZipInfo(name)
            zip_info.external_attr = mode << 16
            opened.writestr(zip_info, content)
        return made.getvalue()


def archive_of_many(count: int) -> bytes:
    with io.BytesIO() as made:
        with zipfile.ZipFile(made, "w") as opened:
            for number in range(count):
                opened.writestr(zipfile.ZipInfo(f"{number}.gz"), b"")
        return made.getvalue()


BAD = {
    "an absolute path": archive_of("/etc/cron.d/x.json.gz", packed([event(1)])),
    "a path out of it": archive_of("1/../../x.json.gz", packed([event(1)])),
    "a link": archive_of("1/x.json.gz", b"/etc/passwd", stat.S_IFLNK | 0o777),
    "many files": archive_of_many(12),
    "a long directory": archive_of("1/" + "x" * 300, b""),
    "a bomb": archive_of("1/x.json.gz", packed([{"a": "0" * 40_000_000}])),
}


@pytest.mark.parametrize("kind", BAD)
def test_an_archive_that_is_an_attack_is_refused(
    kind: str, bank: Path, server: AmplitudeServer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(AmplitudeServer, "archive", lambda *_: BAD[kind])
    monkeypatch.setattr(adapter, "MEMBERS_MAX", 10)
    if kind == "a long directory":
        monkeypatch.setattr(adapter, "DIRECTORY_BYTES_MAX", 300)

    with pytest.raises(UsageError, match=r"and is refused|zip bomb"):
        sync(bank)
    assert not app.open(bank).log.exists() or app.open(bank).context.last_seq() == 0
    assert sorted((bank / ".shroff" / "downloads" / "app").iterdir()) == []


def test_keys_are_variables_of_the_environment(bank: Path, capsys: pytest.CaptureFixture[str]):
    text = (bank / "shroff.yaml").read_text().replace("${AMPLITUDE_SECRET_KEY}", "s3cret")
    (bank / "shroff.yaml").write_text(text)

    assert run(["-C", str(bank), "check"]) == 1
    assert "an environment variable" in "".join(capsys.readouterr())


def test_the_command_takes_days(bank: Path, server: AmplitudeServer, capsys: pytest.CaptureFixture[str]):
    server.events |= {"20260302T07": [event(1)]}

    command = ["-C", str(bank), "sources", "sync", "app", "--day", "2026-03-01", "--to", "2026-03-02", "--json"]
    assert run(command) == 0
    assert [file["file"] for file in json.loads(capsys.readouterr().out)["files"]] == ["2026-03-01", "2026-03-02"]
    assert run(["-C", str(bank), "sources", "sync", "app", "--to", "2026-03-02"]) == 2
