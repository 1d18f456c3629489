"""How far a file is read, by its bytes, and the bar that says so."""

from __future__ import annotations

import gzip
import io
import subprocess
import sys
import time
from pathlib import Path

import pytest

from shroff.cli import progress
from shroff.events.formats.encodings import read_lines, read_stream
from shroff.runtime.progress import Meter

COLUMNS = "id,card\n"
LINES = 20_000


def text() -> bytes:
    return (COLUMNS + "".join(f"p{number},c{number * 7_919 % 10_007}\n" for number in range(LINES))).encode()


def csv(folder: Path) -> Path:
    path = folder / "in.csv"
    path.write_bytes(text())
    return path


def compressed(folder: Path) -> Path:
    path = folder / "in.csv.gz"
    path.write_bytes(gzip.compress(text()))
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


@pytest.mark.slow
def test_compiling_is_told_once_and_at_once(monkeypatch):
    from numba import njit

    written = io.StringIO()
    monkeypatch.setattr(sys, "stderr", written)
    with progress.said_if_compiling():
        end = time.monotonic() + 60
        while not written.getvalue() and time.monotonic() < end:
            njit("int64(int64)")(lambda number: number + 1)
        njit("int64(int64)")(lambda number: number + 2)

    assert written.getvalue() == f"{progress.COMPILING}\n"


def test_the_compiler_is_not_brought_in_to_look_for_it():
    code = "import sys, time\nfrom shroff.cli.progress import said_if_compiling\n"
    code += "with said_if_compiling():\n    time.sleep(0.3)\nsys.exit('numba' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)

    assert (done.returncode, done.stderr) == (0, b"")
