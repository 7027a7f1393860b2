"""Hashing and syncing behind the writer: the same answer as reading the finished file, or none."""

import hashlib
import os
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lfmri_node.dicom_io.raw_data.payload import locate_payload
from lfmri_node.dicom_io.raw_data.window import Segment
from lfmri_node.dicom_io.raw_data.wrap import wrap
from lfmri_node.dicom_io.receive.follow import Follower
from lfmri_node.dicom_io.status import Status

SIZE = 40_000_001


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Raw Data object of 40 MB, long enough to be followed."""
    home = tmp_path_factory.mktemp("large")
    (home / "in.h5").write_bytes(os.urandom(SIZE))
    return wrap(home / "in.h5", home, {"PatientID": "P", "StudyInstanceUID": "1.2.3"})[0]


def payload_of(path: Path) -> bytes:
    segment = locate_payload(path)
    return path.read_bytes()[segment.offset :][: segment.size]


@settings(deadline=None, max_examples=10)
@given(cuts=st.lists(st.integers(0, SIZE), max_size=12).map(sorted))
def test_written_in_pieces(large: Path, tmp_path_factory: pytest.TempPathFactory, cuts: list[int]) -> None:
    content = large.read_bytes()
    path = tmp_path_factory.mktemp("growing") / "x.part"
    follower = Follower(path)
    with path.open("wb", buffering=0) as file:
        for start, end in zip([0, *cuts], [*cuts, len(content)], strict=True):
            file.write(content[start:end])
            follower.grown(end)
    follower.finish(len(content))
    segment = locate_payload(path)
    expected = hashlib.sha256(payload_of(large)).hexdigest()
    assert follower.digest(segment) in (expected, None)
    if any(cut >= 1 << 23 for cut in cuts):
        assert follower.digest(segment) == expected
    assert follower.digest(Segment(path=path, offset=segment.offset + 1, size=segment.size)) is None
    path.unlink()


def test_a_small_file_is_not_followed(tmp_path: Path) -> None:
    follower = Follower(tmp_path / "small")
    before = threading.active_count()
    follower.grown(1000)
    assert threading.active_count() == before
    follower.finish(1000)
    assert follower.digest(Segment(path=tmp_path / "small", offset=0, size=1000)) is None


def test_what_is_no_payload_is_not_hashed(tmp_path: Path) -> None:
    path = tmp_path / "image"
    path.write_bytes(bytes(1 << 24))
    follower = Follower(path)
    follower.grown(1 << 24)
    follower.finish(1 << 24)
    assert follower.digest(Segment(path=path, offset=0, size=1 << 24)) is None


def test_a_file_that_is_given_up(large: Path) -> None:
    follower = Follower(large)
    follower.grown(1 << 23)
    follower.finish(0)
    assert follower.digest(locate_payload(large)) is None


def test_a_file_shorter_than_written_is_an_error(large: Path, tmp_path: Path) -> None:
    path = tmp_path / "short"
    path.write_bytes(large.read_bytes()[: 1 << 23])
    follower = Follower(path)
    follower.grown(1 << 24)
    follower.finish(1 << 24)
    with pytest.raises(OSError, match="shorter"):
        follower.digest(locate_payload(path))


def test_a_large_object_over_the_network(start_node, store, large: Path, tmp_path: Path) -> None:
    content = bytearray(large.read_bytes())
    content[-1000] ^= 1
    (tmp_path / "changed.dcm").write_bytes(content)
    node = start_node()
    assert store(node.port, tmp_path / "changed.dcm", large) == [Status.WRONG_HASH, Status.SUCCESS]
    assert payload_of(node.kept[0]) == payload_of(large)
    assert node.incoming == []
