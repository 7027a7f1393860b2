"""The hash of an object that was made while it came is that of the object; an error of the disk is told."""

import errno
import hashlib
import os
import random
from pathlib import Path

import pytest

from lfmri_node.dicom_io.receive.following import _STEP, Following


@pytest.mark.parametrize("size", [0, 1, _STEP - 1, _STEP, 2 * _STEP + 12345])
def test_hashes_what_it_is_told_to(tmp_path, size):
    rng = random.Random(size)
    head, payload, tail = rng.randbytes(300), rng.randbytes(size), rng.randbytes(77)
    path = tmp_path / "object"
    with path.open("wb", buffering=0) as file:
        file.write(head)
        following = Following(path, len(head), len(head) + size)
        rest = memoryview(payload + tail)
        while rest:
            rest = rest[file.write(rest[: rng.randrange(1, 1 << 22)]) :]
            following.grown(file.tell())
    assert following.sha256() == hashlib.sha256(payload).hexdigest()
    following.end()


def test_a_disk_that_failed_while_the_object_came_is_told(tmp_path, monkeypatch):
    """The kernel tells an error once: whoever syncs later would hear of success."""

    def fails(_descriptor: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fdatasync", fails)
    path = tmp_path / "object"
    path.write_bytes(bytes(_STEP))
    following = Following(path, 0, _STEP)
    following.grown(_STEP)
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        following.sha256()
    following.end()


def test_can_be_left_in_the_middle(tmp_path):
    path = tmp_path / "object"
    path.write_bytes(bytes(3 * _STEP))
    following = Following(path, 0, 9 * _STEP)
    following.grown(3 * _STEP)
    following.end()
    open_files = [link.resolve() for link in Path("/proc/self/fd").iterdir()]
    assert path.resolve() not in open_files
