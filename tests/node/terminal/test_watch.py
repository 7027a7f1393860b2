"""``status --watch``: on a real terminal in place, elsewhere one below the other; Ctrl-C is a good end."""

import fcntl
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lfmri_node.node.cli.main import run

KEYS = [digit * 64 for digit in "abcdef"]
ON, OFF, HOME, ERASE = "\x1b[?1049h", "\x1b[?1049l", "\x1b[H", "\x1b[2J"


@contextmanager
def watching(folder: Path, stdout: int, terminal: str = "xterm") -> Iterator[subprocess.Popen]:
    (folder / "config.toml").write_text("[node]\ndata_dir = 'data'\n")
    command = [sys.executable, "-m", "lfmri_node.node.cli", "status", "--watch", "--every", "0.1"]
    environment = {**os.environ, "TERM": terminal}
    with subprocess.Popen(command, cwd=folder, stdout=stdout, env=environment) as process:
        try:
            yield process
        finally:
            process.kill()


def read_until(stream: int, *texts: str) -> str:
    """Everything up to where all texts have come in this order."""
    said = ""
    while True:
        position = 0
        for text in texts:
            position = said.find(text, position) + len(text)
            if position < len(text):
                break
        else:
            return said
        said += os.read(stream, 1 << 16).decode()


def test_on_a_terminal_in_place_without_erasing(tmp_path: Path, add_measurement) -> None:
    terminal, other = pty.openpty()
    fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    add_measurement(tmp_path, KEYS[0])
    with watching(tmp_path, other) as process:
        os.close(other)
        first = read_until(terminal, ON, KEYS[0][:12])
        assert first.index(ON) < first.index(KEYS[0][:12])
        add_measurement(tmp_path, KEYS[1])
        second = read_until(terminal, HOME, KEYS[1][:12])
        assert ERASE not in second
        process.send_signal(signal.SIGINT)
        rest = read_until(terminal, OFF, KEYS[1][:12])
        assert process.wait() == 0
        assert "error" not in rest
    os.close(terminal)


def test_elsewhere_the_tables_follow_each_other(tmp_path: Path, add_measurement) -> None:
    reading, writing = os.pipe()
    add_measurement(tmp_path, KEYS[0])
    with watching(tmp_path, writing) as process:
        os.close(writing)
        said = read_until(reading, "node: not serving", "node: not serving", "node: not serving")
        process.send_signal(signal.SIGINT)
        assert process.wait() == 0
    os.close(reading)
    assert "\x1b" not in said


def test_a_terminal_that_cannot_is_written_line_by_line(tmp_path: Path, add_measurement) -> None:
    terminal, other = pty.openpty()
    add_measurement(tmp_path, KEYS[0])
    with watching(tmp_path, other, terminal="dumb") as process:
        os.close(other)
        said = read_until(terminal, "node: not serving", "node: not serving")
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 0
    os.close(terminal)
    assert "\x1b" not in said


@pytest.mark.parametrize("spoil", [Path.unlink, lambda table: table.write_bytes(b"no database" * 1000)])
def test_an_error_gives_the_terminal_back(tmp_path: Path, add_measurement, spoil) -> None:
    terminal, other = pty.openpty()
    add_measurement(tmp_path, KEYS[0])
    with watching(tmp_path, other) as process:
        os.close(other)
        read_until(terminal, KEYS[0][:12])
        spoil(tmp_path / "data" / "state" / "node.sqlite")
        read_until(terminal, OFF)
        assert process.wait() == 1
    os.close(terminal)


@pytest.mark.parametrize("words", [["--watch", "--json"], ["--every", "5"], ["--watch", "--every", "0"]])
def test_what_does_not_go_together_is_wrong_usage(words: list[str], capsys: pytest.CaptureFixture) -> None:
    assert run(["status", *words]) == 2
    assert "error LF-CFG-011: " in capsys.readouterr().err
