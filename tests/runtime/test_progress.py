"""How far a file is read, by its bytes, and the bar that says so."""

from __future__ import annotations

import gzip
import io
import sys
import time
from pathlib import Path

import pytest

from shroff.cli import main, progress
from shroff.events.formats.encodings import read_lines, read_stream
from shroff.events.formats.lines import Meter
from shroff.features.kernels import native
from shroff.runtime import process_wide

COLUMNS = "id,card\n"
LINES = 60_000


def text() -> bytes:
    return (COLUMNS + "".join(f"p{number},c{number * 7_919 % 10_007}\n" for number in range(LINES))).encode()


def csv(folder: Path) -> Path:
    path = folder / "in.csv"
    path.write_bytes(text())
    return path


def compressed(folder: Path) -> Path:
    path = folder / "in.csv.gz"
    path.write_bytes(gzip.compress(text(), compresslevel=0))  # longer than what gzip reads at once
    return path


def parquet(folder: Path) -> Path:
    import pyarrow.csv
    import pyarrow.parquet

    path = folder / "in.parquet"
    pyarrow.parquet.write_table(pyarrow.csv.read_csv(csv(folder)), path)
    return path


@pytest.mark.parametrize("made", [csv, compressed, parquet])
def test_the_share_rises_with_what_was_read_to_all_of_it(made, tmp_path):
    meter = Meter()
    with read_lines(made(tmp_path)) as lines:
        shares = [meter.share() for _ in meter.opened(lines)]

        assert shares == sorted(shares)
        assert shares[0] < 0.5
        assert 0.3 < shares[LINES // 2] < 0.8
        assert meter.share() == 1.0
    assert meter.share() == 1.0


def test_two_files_count_by_their_sizes(tmp_path):
    meter = Meter()
    small = tmp_path / "small.csv"
    small.write_text(COLUMNS + "p,c\n")
    with read_lines(csv(tmp_path)) as large, read_lines(small) as little:
        meter.opened(large)
        list(meter.opened(little))

        assert 0.0 < meter.share() < 0.1


def test_of_a_pipe_nobody_knows_the_size(tmp_path):
    meter = Meter()
    list(meter.opened(read_stream(io.BytesIO(text()), "csv")))

    assert meter.share() is None


def test_what_is_sorted_counts_again_as_it_comes_out(tmp_path):
    meter = Meter()
    with read_lines(csv(tmp_path)) as lines:
        shares = [meter.share() for _ in meter.given(sorted(meter.taken(meter.opened(lines)), key=id))]

    assert shares[0] == 1 / LINES
    assert shares[-1] == 1.0


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def drawn(monkeypatch: pytest.MonkeyPatch, *phases: str | progress.Phase) -> str:
    """What a terminal gets of three steps in the last phase."""
    monkeypatch.setattr(progress, "QUIET_S", 0.0)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", Terminal())
    with progress.bars(*phases) as tell:
        for _ in range(3):
            tell[-1](1_000)
    return sys.stderr.getvalue()


def test_a_bar_says_the_count_the_share_and_the_time_left(monkeypatch):
    shown = drawn(monkeypatch, "restoring state", ("reading, lines", lambda: 0.37))

    assert "reading, lines: 3,000" in shown
    assert "37%" in shown
    assert "left" in shown


def test_without_a_share_only_the_count_is_said(monkeypatch):
    shown = drawn(monkeypatch, "reading, lines")

    assert "reading, lines: 3,000" in shown
    assert "%" not in shown


def test_nothing_is_drawn_where_nobody_watches(monkeypatch):
    monkeypatch.setattr(progress, "QUIET_S", 0.0)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with progress.bars("reading, lines") as (tell,):
        tell(1_000)

    assert sys.stderr.getvalue() == ""


def kernels():
    """Two kernels as after a start: nothing of them is in memory."""

    def following(number):
        return number + 1

    def double(number):
        return number * 2

    return native.native("int64(int64)")(following), native.native("int64(int64)")(double)


@pytest.mark.slow
def test_compiling_is_said_once_and_what_is_on_disk_is_not_compiled(monkeypatch, tmp_path):
    monkeypatch.setenv(native.FOLDER_VARIABLE, str(tmp_path))
    said, again = [], []
    monkeypatch.setattr(native, "compile_listeners", listeners := [progress.CompileNote(said.append)])
    first = [kernel(20) for kernel in kernels()]
    listeners[:] = [progress.CompileNote(again.append)]
    second = [kernel(20) for kernel in kernels()]

    assert first == second == [21, 40]
    assert (said, again) == ([f"shroff: {progress.COMPILING}"], [])


def test_a_terminal_sees_which_kernel_is_compiled_and_its_line_goes_again(monkeypatch):
    monkeypatch.setattr(progress, "LOOK_S", 0.001)
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    with progress.CompileNote(lambda words: None)("scan_lines"):
        while "scan_lines" not in terminal.getvalue():
            time.sleep(0.001)

    assert "kernel 1, scan_lines: 0 s" in terminal.getvalue()
    assert terminal.getvalue().endswith("\r\x1b[2K")


@pytest.mark.slow
def test_every_command_has_the_note_while_it_runs(monkeypatch):
    heard = []
    monkeypatch.setattr(main, "_invoke", lambda arguments, session: heard.extend(process_wide.compile_listeners))

    main.run(["check"])

    assert [type(item) for item in heard] == [progress.CompileNote]
    assert process_wide.compile_listeners == []
