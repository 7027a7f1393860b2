"""Which files that HDF5 cannot read may be half a copy."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from lfmri_node.node.doors.half import may_be_half


@pytest.fixture(params=["earliest", "v110", "latest"])
def whole(request: pytest.FixtureRequest, tmp_path: Path) -> bytes:
    """A file with a superblock of each version that h5py writes."""
    path = tmp_path / "whole.h5"
    with h5py.File(path, "w", libver=request.param) as file:
        file["data"] = np.arange(1, 5000)
    return path.read_bytes()


def may(tmp_path: Path, content: bytes) -> bool:
    path = tmp_path / "file.h5"
    path.write_bytes(content)
    return may_be_half(path)


def test_a_whole_file_is_not_half_a_copy(tmp_path: Path, whole: bytes) -> None:
    assert not may(tmp_path, whole)


@pytest.mark.parametrize("n_bytes", [0, 3, 8, 20, 100, 200, -1])
def test_a_part_of_it_may_be(tmp_path: Path, whole: bytes, n_bytes: int) -> None:
    assert may(tmp_path, whole[:n_bytes])


def test_what_has_its_length_and_not_all_its_bytes_may_be(tmp_path: Path, whole: bytes) -> None:
    assert may(tmp_path, b"\0" * len(whole))
    assert may(tmp_path, whole[:9000] + b"\0" * (len(whole) - 9000))


def test_what_does_not_begin_like_one_is_none(tmp_path: Path) -> None:
    assert not may(tmp_path, b"no HDF5 at all")
    assert not may(tmp_path, b"no")
