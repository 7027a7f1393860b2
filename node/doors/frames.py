"""Messages of the MRD streaming protocol: where each ends, and in which order they may come.

A message is a number of 16 bits, a head of fixed length, and what that head announces, all little-endian.
Nothing here is interpreted beyond lengths; whoever parses the samples may be killed (`convert`).

| message | number | head | then |
|---|---|---|---|
| configuration file | 1 | 1024 bytes: a name, padded with zeros | |
| configuration text | 2 | length, 32 bits | so many bytes |
| ISMRMRD header | 3 | length, 32 bits | so many bytes of XML |
| close | 4 | | |
| text | 5 | length, 32 bits | so many bytes |
| acquisition | 1008 | AcquisitionHeader, 340 bytes | trajectory f32, samples c64 |
| waveform | 1026 | WaveformHeader, 40 bytes | values u32 |

Source: the MRD streaming documentation of the ISMRMRD project; lengths as in its C headers.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum

from lfmri_node.node.errors import DoorError

Read = Callable[[int], bytes]
"""Gives so many bytes, fewer only where no more will come."""

MAX_XML_BYTES = 4 << 20
MAX_TEXT_BYTES = 1 << 20
MAX_DATA_BYTES = 256 << 20
MAX_TEXTS = 1000


class Kind(IntEnum):
    """Messages that are taken, by their numbers."""

    CONFIG_FILE = 1
    CONFIG_TEXT = 2
    HEADER = 3
    CLOSE = 4
    TEXT = 5
    ACQUISITION = 1008
    WAVEFORM = 1026


CONFIG_FILE_BYTES = 1024
_LENGTH = struct.Struct("<I")
_HEAD_BYTES = {
    Kind.CONFIG_FILE: CONFIG_FILE_BYTES,
    Kind.CONFIG_TEXT: _LENGTH.size,
    Kind.HEADER: _LENGTH.size,
    Kind.CLOSE: 0,
    Kind.TEXT: _LENGTH.size,
    Kind.ACQUISITION: 340,
    Kind.WAVEFORM: 40,
}
_LONGEST = {
    Kind.CONFIG_TEXT: MAX_TEXT_BYTES,
    Kind.HEADER: MAX_XML_BYTES,
    Kind.TEXT: MAX_TEXT_BYTES,
    Kind.ACQUISITION: MAX_DATA_BYTES,
    Kind.WAVEFORM: MAX_DATA_BYTES,
}
_NUMBER = struct.Struct("<H")
_SAMPLES, _CHANNELS, _DIMENSIONS = 34, 38, 176
_WAVE_SAMPLES, _WAVE_CHANNELS = 28, 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """A message without its body: ``head`` as it came, its number included; ``body_bytes`` follow."""

    kind: Kind
    head: bytes
    body_bytes: int

    @property
    def fixed(self) -> bytes:
        """The head without the number."""
        return self.head[_NUMBER.size :]


def exactly(read: Read, n_bytes: int) -> bytes:
    """So many bytes.

    Raises
    ------
    DoorError
        LF-DOR-001 where the stream ends before them.
    """
    data = read(n_bytes)
    if len(data) < n_bytes:
        raise cut_off()
    return data


def next_frame(read: Read) -> Frame:
    """The next message; its body is left to the caller.

    Raises
    ------
    DoorError
        LF-DOR-001 the stream ends, LF-DOR-002 a message that is not taken, LF-DOR-003 too long a one.
    """
    word = exactly(read, _NUMBER.size)
    (number,) = _NUMBER.unpack(word)
    if number not in _HEAD_BYTES:
        raise _not_taken(f"a message of number {number}")
    kind = Kind(number)
    fixed = exactly(read, _HEAD_BYTES[kind])
    body_bytes = _body_bytes(kind, fixed)
    if body_bytes > _LONGEST.get(kind, 0):
        raise DoorError(
            "LF-DOR-003",
            f"a message of number {number} declares {body_bytes} bytes",
            "find out what calls this port; a header has at most 4 MiB, a readout 256 MiB",
        )
    return Frame(kind=kind, head=word + fixed, body_bytes=body_bytes)


def _body_bytes(kind: Kind, fixed: bytes) -> int:
    if kind is Kind.ACQUISITION:
        samples, channels, dimensions = (_at(fixed, place) for place in (_SAMPLES, _CHANNELS, _DIMENSIONS))
        return samples * (4 * dimensions + 8 * channels)
    if kind is Kind.WAVEFORM:
        return 4 * _at(fixed, _WAVE_SAMPLES) * _at(fixed, _WAVE_CHANNELS)
    if kind in (Kind.CONFIG_TEXT, Kind.HEADER, Kind.TEXT):
        return int(_LENGTH.unpack(fixed)[0])
    return 0


def _at(fixed: bytes, place: int) -> int:
    return int(_NUMBER.unpack_from(fixed, place)[0])


class Course:
    """What has come of a stream: one header, then at least one acquisition, then the close.

    Attributes
    ----------
    n_acquisitions, n_texts
        So many have come.
    has_header
        Whether the ISMRMRD header has.
    """

    def __init__(self) -> None:
        self.n_acquisitions = 0
        self.n_texts = 0
        self.has_header = False

    def admit(self, frame: Frame) -> None:
        """Note the next message.

        Raises
        ------
        DoorError
            LF-DOR-002 where it may not come now.
        """
        if frame.kind is Kind.HEADER:
            if self.has_header:
                raise _not_taken("a second header")
            self.has_header = True
        elif frame.kind in (Kind.ACQUISITION, Kind.WAVEFORM) and not self.has_header:
            raise _not_taken("a readout before the header")
        elif frame.kind is Kind.CLOSE and not self.n_acquisitions:
            raise _not_taken("the end of a stream without an acquisition")
        self.n_acquisitions += frame.kind is Kind.ACQUISITION
        self.n_texts += frame.kind in (Kind.TEXT, Kind.CONFIG_TEXT, Kind.CONFIG_FILE)
        if self.n_texts > MAX_TEXTS:
            raise _not_taken(f"more than {MAX_TEXTS} texts")


def frames(read: Read, course: Course) -> Iterator[Frame]:
    """Every message up to the close, which is the last; the caller reads each body before the next.

    Raises
    ------
    DoorError
        As `next_frame`, `Course.admit`.
    """
    while True:
        frame = next_frame(read)
        course.admit(frame)
        yield frame
        if frame.kind is Kind.CLOSE:
            return


def text_message(text: str) -> bytes:
    """A text as a message, and the close after it."""
    data = text.encode("utf-8")
    return _NUMBER.pack(Kind.TEXT) + _LENGTH.pack(len(data)) + data + _NUMBER.pack(Kind.CLOSE)


def cut_off() -> DoorError:
    """LF-DOR-001."""
    return DoorError(
        "LF-DOR-001",
        "the stream ended before its close message",
        "send the whole measurement again; what came is kept as incomplete",
    )


def _not_taken(what: str) -> DoorError:
    return DoorError(
        "LF-DOR-002",
        f"the stream holds {what}",
        "send configuration, one header, acquisitions and waveforms, close (deploy/docs/ways-in.md)",
    )
