"""Framing: where messages end, what is refused, and that no input reads beyond its bounds."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mrd_client import CLOSE, CONFIG_TEXT, HEADER, TEXT, acquisition, config_file, number, text, waveform

from lfmri_node.node.doors import frames as framing
from lfmri_node.node.doors.frames import Course, Kind, exactly, frames, text_message
from lfmri_node.node.errors import DoorError


def head(samples: int, channels: int, dimensions: int = 0) -> bytes:
    """An AcquisitionHeader in which only the lengths are set."""
    said = bytearray(340)
    struct.pack_into("<3H", said, 34, samples, channels, channels)
    struct.pack_into("<H", said, 176, dimensions)
    return bytes(said)


def line(samples: int = 4, channels: int = 2, dimensions: int = 0) -> bytes:
    return acquisition(
        head(samples, channels, dimensions), bytes(4 * samples * dimensions), bytes(8 * samples * channels)
    )


def walked(stream: bytes) -> list[tuple[Kind, int]]:
    """Kind and body of every message, with the bodies read as the door reads them."""
    file = io.BytesIO(stream)
    found = []
    for frame in frames(file.read, Course()):
        exactly(file.read, frame.body_bytes)
        found.append((frame.kind, frame.body_bytes))
    assert file.read() == b""
    return found


def code_of(stream: bytes) -> str:
    with pytest.raises(DoorError) as refused:
        walked(stream)
    return refused.value.code


def test_every_message_of_a_measurement_ends_where_the_next_begins() -> None:
    stream = [
        config_file("default.xml"),
        text(CONFIG_TEXT, b"{}"),
        text(HEADER, b"<x/>"),
        line(dimensions=2),
        waveform(np.zeros((2, 5))),
        text(TEXT, b"hello"),
        number(CLOSE),
    ]
    assert walked(b"".join(stream)) == [
        (Kind.CONFIG_FILE, 0),
        (Kind.CONFIG_TEXT, 2),
        (Kind.HEADER, 4),
        (Kind.ACQUISITION, 4 * 4 * 2 + 8 * 4 * 2),
        (Kind.WAVEFORM, 4 * 2 * 5),
        (Kind.TEXT, 5),
        (Kind.CLOSE, 0),
    ]


WHOLE = text(HEADER, b"<x/>") + line() + number(CLOSE)


@pytest.mark.parametrize("length", range(len(WHOLE)))
def test_a_stream_cut_anywhere_is_cut(length: int) -> None:
    assert code_of(WHOLE[:length]) == "LF-DOR-001"


@pytest.mark.parametrize(
    ("stream", "code"),
    [
        (number(1022), "LF-DOR-002"),
        (number(0), "LF-DOR-002"),
        (b"GET / HTTP/1.1\r\n\r\n", "LF-DOR-002"),
        (line() + number(CLOSE), "LF-DOR-002"),
        (text(HEADER, b"<x/>") * 2 + line() + number(CLOSE), "LF-DOR-002"),
        (text(HEADER, b"<x/>") + number(CLOSE), "LF-DOR-002"),
        (text(TEXT, b"") * (framing.MAX_TEXTS + 1) + WHOLE, "LF-DOR-002"),
        (number(HEADER) + struct.pack("<I", framing.MAX_XML_BYTES + 1), "LF-DOR-003"),
        (number(TEXT) + struct.pack("<I", 0xFFFFFFFF), "LF-DOR-003"),
        (text(HEADER, b"<x/>") + number(1008) + head(65535, 65535), "LF-DOR-003"),
        (text(HEADER, b"<x/>") + number(1008) + head(65535, 1, 65535), "LF-DOR-003"),
    ],
    ids=[
        "an image", "no message", "a browser", "no header", "two headers", "no acquisition",
        "texts without end", "a long header", "a long text", "a long acquisition", "a long trajectory",
    ],
)  # fmt: skip
def test_what_no_sender_of_measurements_says_is_refused(stream: bytes, code: str) -> None:
    assert code_of(stream) == code


@given(st.binary(max_size=4000), st.integers(0, len(WHOLE)))
def test_whatever_comes_ends_in_a_refusal_or_at_the_close(noise: bytes, at: int) -> None:
    stream = WHOLE[:at] + noise + WHOLE[at:]
    file = io.BytesIO(stream)
    asked = []

    def read(n_bytes: int) -> bytes:
        asked.append(n_bytes)
        return file.read(n_bytes)

    try:
        for frame in frames(read, Course()):
            exactly(file.read, frame.body_bytes)
    except DoorError as error:
        assert error.code in ("LF-DOR-001", "LF-DOR-002", "LF-DOR-003")  # noqa: PT017 - both ends are good
    assert max(asked) <= 1024


def test_an_answer_is_a_text_and_the_close() -> None:
    assert text_message("ü") == b"\x05\x00\x02\x00\x00\x00\xc3\xbc\x04\x00"
