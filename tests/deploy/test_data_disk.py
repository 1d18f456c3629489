"""The first step of a machine with data of its own: only an empty disk is formatted. With real images, without root."""

from __future__ import annotations

import os
import subprocess

import pytest
import yaml

from tests.deploy import checks

DISK = "/dev/disk/by-id/google-kafka"
ENVIRONMENT = {**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin", "LC_ALL": "C"}
BYTES = 16 * 2**20


def tool(*command):
    return subprocess.run(command, env=ENVIRONMENT, capture_output=True, check=False)


@pytest.fixture
def disk(tmp_path):
    path = tmp_path / "disk"
    path.write_bytes(bytes(BYTES))
    return path


def boot(disk):
    given = yaml.safe_load((checks.DEPLOY / "terraform/gcp/module/kafka.yaml").read_text(encoding="utf-8"))
    return tool("sh", "-c", given["bootcmd"][0].replace(DISK, str(disk))).returncode


def with_file(disk, tmp_path):
    """A disk that was booted once and has a segment of Kafka."""
    assert boot(disk) == 0
    (tmp_path / "segment").write_bytes(b"orders" * 1_000)
    tool("debugfs", "-w", "-R", f"write {tmp_path / 'segment'} segment", disk)
    return disk


def segment(disk):
    return tool("debugfs", "-R", "cat segment", disk).stdout


def test_an_empty_disk_is_formatted_once(disk, tmp_path):
    with_file(disk, tmp_path)

    assert (boot(disk), segment(disk)) == (0, b"orders" * 1_000)


def test_a_disk_that_fsck_has_mended_keeps_its_data(disk, tmp_path):
    with_file(disk, tmp_path)
    tool("debugfs", "-w", "-R", "set_super_value free_blocks_count 1", disk)
    tool("debugfs", "-w", "-R", "set_super_value state 2", disk)
    copy = tmp_path / "copy"
    copy.write_bytes(disk.read_bytes())

    assert tool("fsck.ext4", "-vy", copy).returncode == 1  # errors were corrected
    assert (boot(disk), segment(disk)) == (0, b"orders" * 1_000)


@pytest.mark.parametrize("found", [b"somebody's data" * 100_000, bytes(4_096) + b"x", b"LUKS\xba\xbe" + b"y" * 10_000])
def test_a_disk_with_something_else_stays_as_it_is(disk, found):
    disk.write_bytes(found.ljust(BYTES, b"\0"))
    before = disk.read_bytes()

    assert (boot(disk), disk.read_bytes() == before) == (1, True)


def test_a_disk_without_its_first_block_is_not_formatted(disk, tmp_path):
    with_file(disk, tmp_path)
    with disk.open("r+b") as file:
        file.write(bytes(4_096))
    boot(disk)

    assert segment(disk) in {b"orders" * 1_000, b""}
    assert b"orders" * 100 in disk.read_bytes()
