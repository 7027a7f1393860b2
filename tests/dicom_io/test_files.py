"""A name appears only over content that is durable, and is durable itself when the block has ended."""

import os
from pathlib import Path

import pytest

from lfmri_node.dicom_io.files import published_file


def synced(monkeypatch: pytest.MonkeyPatch, final: Path) -> list[tuple[str, bool]]:
    """Each fsync as (name of what is synced, whether ``final`` had its name by then)."""
    steps: list[tuple[str, bool]] = []
    fsync = os.fsync

    def recorded(descriptor: int) -> None:
        fsync(descriptor)
        steps.append((Path(f"/proc/self/fd/{descriptor}").readlink().name, final.exists()))

    monkeypatch.setattr(os, "fsync", recorded)
    return steps


def test_content_is_durable_before_the_name_and_the_name_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    final = tmp_path / "scan.h5"
    steps = synced(monkeypatch, final)
    with published_file(final) as file:
        file.write(b"all of it")
        assert not final.exists()
    assert steps == [(".scan.h5.part", False), (tmp_path.name, True)]
    assert [path.name for path in tmp_path.iterdir()] == ["scan.h5"]
    assert final.read_bytes() == b"all of it"


def test_a_block_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    final = tmp_path / "scan.h5"
    final.write_bytes(b"before")

    def fail() -> None:
        with published_file(final) as file:
            file.write(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert [path.name for path in tmp_path.iterdir()] == ["scan.h5"]
    assert final.read_bytes() == b"before"
