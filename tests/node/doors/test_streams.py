"""Streams on disk: durable before they count, kept where they are cut, gone where nothing was in them."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest
from mrd_client import HEADER, text
from test_frames import WHOLE, line

from lfmri_node.node.doors.streams import DIRECTORY, Streams, kept_streams, survey
from lfmri_node.node.errors import DoorError


@pytest.fixture
def streams(tmp_path: Path) -> Streams:
    made = Streams(tmp_path, max_bytes=100_000, min_free_bytes=0)
    made.open()
    return made


def receive(streams: Streams, stream: bytes) -> Path:
    return streams.receive(io.BytesIO(stream).read, "SCANNER", lambda: None)


def names(tmp_path: Path) -> list[str]:
    return sorted(path.suffix for path in (tmp_path / DIRECTORY).iterdir())


def test_a_whole_stream_is_kept_byte_for_byte(tmp_path: Path, streams: Streams) -> None:
    path = receive(streams, WHOLE)
    assert path.read_bytes() == WHOLE
    assert streams.complete() == [path]
    assert kept_streams(tmp_path) == []
    assert streams.note_of(path).ae_title == "SCANNER"
    streams.remove(path)
    assert names(tmp_path) == []


def test_bytes_and_name_are_durable_before_a_stream_counts(
    tmp_path: Path, streams: Streams, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[tuple[str, int, bool]] = []
    fsync = os.fsync

    def recorded(descriptor: int) -> None:
        fsync(descriptor)
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        size = path.stat().st_size if path.is_file() else 0
        steps.append((path.suffix or path.name, size, any(path.parent.glob("**/*.mrd"))))

    monkeypatch.setattr(os, "fsync", recorded)
    receive(streams, WHOLE)
    assert (".part", len(WHOLE), False) in steps
    assert steps[-1] == (DIRECTORY, 0, True)


def test_a_cut_stream_is_kept_and_named_and_never_complete(tmp_path: Path, streams: Streams) -> None:
    begun = text(HEADER, b"<x/>") + line() + line()[:-1]
    with pytest.raises(DoorError, match="LF-DOR-001"):
        receive(streams, begun)
    (note,) = kept_streams(tmp_path)
    assert (note.ae_title, note.code, note.n_acquisitions) == ("SCANNER", "LF-DOR-001", 1)
    (cut,) = (tmp_path / DIRECTORY).glob("*.cut")
    assert begun.startswith(cut.read_bytes())
    assert cut.stat().st_size == note.n_bytes
    assert streams.complete() == []


@pytest.mark.parametrize("begun", [b"", text(HEADER, b"<x/>"), b"GET /", text(HEADER, b"<x/>") + line()[:-1]])
def test_of_a_stream_without_a_whole_acquisition_nothing_stays(
    tmp_path: Path, streams: Streams, begun: bytes
) -> None:
    with pytest.raises(DoorError):
        receive(streams, begun)
    assert names(tmp_path) == []


def test_a_stream_beyond_its_limit_is_not_taken(tmp_path: Path, streams: Streams) -> None:
    with pytest.raises(DoorError, match="LF-DOR-004"):
        receive(streams, text(HEADER, b"<x/>") + line(1000, 10) * 2)
    assert [note.code for note in kept_streams(tmp_path)] == ["LF-DOR-004"]


def test_below_the_floor_of_free_space_nothing_is_taken(tmp_path: Path) -> None:
    streams = Streams(tmp_path, max_bytes=100_000, min_free_bytes=1 << 62)
    streams.open()
    with pytest.raises(DoorError, match="LF-DOR-004"):
        receive(streams, WHOLE)
    assert names(tmp_path) == []


def test_what_a_killed_node_was_receiving_is_cut_off_at_the_next_start(
    tmp_path: Path, streams: Streams
) -> None:
    class Killed(BaseException):
        pass

    source = io.BytesIO(text(HEADER, b"<x/>") + line() + line())

    def read(n_bytes: int) -> bytes:
        if source.tell() > 700:
            raise Killed
        return source.read(n_bytes)

    with pytest.raises(Killed):
        streams.receive(read, "SCANNER", lambda: None)
    assert names(tmp_path) == [".json", ".part"]
    Streams(tmp_path, max_bytes=1, min_free_bytes=0).open()
    assert names(tmp_path) == [".cut", ".json"]
    (note,) = kept_streams(tmp_path)
    assert (note.code, note.ae_title, note.n_acquisitions) == ("LF-DOR-001", "SCANNER", 1)


def test_a_stream_that_was_whole_when_the_node_was_killed_still_waits(
    tmp_path: Path, streams: Streams
) -> None:
    path = receive(streams, WHOLE)
    again = Streams(tmp_path, max_bytes=1, min_free_bytes=0)
    again.open()
    assert again.complete() == [path]


def test_one_that_cannot_become_a_job_is_kept_with_its_reason(tmp_path: Path, streams: Streams) -> None:
    path = receive(streams, WHOLE)
    assert [streams.count_try(path) for _ in range(3)] == [1, 2, 3]
    streams.refuse(path, DoorError("LF-RAW-003", "no header", "export again"))
    (note,) = kept_streams(tmp_path)
    assert (note.code, note.message, note.hint) == ("LF-RAW-003", "no header", "export again")
    assert streams.complete() == []


def test_survey_counts_whole_acquisitions(tmp_path: Path) -> None:
    path = tmp_path / "stream"
    path.write_bytes(WHOLE)
    assert survey(path) == 1


def test_when_a_stream_comes_whole_its_cut_beginnings_go_and_others_stay(
    tmp_path: Path, streams: Streams
) -> None:
    for begun in (WHOLE[:-2], text(HEADER, b"<y/>") + line(), WHOLE[:-2] + line()):
        with pytest.raises(DoorError):
            receive(streams, begun)
    path = receive(streams, WHOLE)
    streams.forget_beginnings(path)
    assert len(kept_streams(tmp_path)) == 2
    assert path.exists()
