"""Directories and paths that appear whole: everything in them is durable before they have their name."""

import os
from pathlib import Path

import pytest

from lfmri_node.node.files import published_directory, published_path

Steps = list[tuple[str, bool]]


@pytest.fixture
def synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Steps:
    """Each fsync as (path inside ``tmp_path``, whether ``tmp_path/final`` had its name by then)."""
    steps: Steps = []
    fsync = os.fsync

    def recorded(descriptor: int) -> None:
        fsync(descriptor)
        path = Path(f"/proc/self/fd/{descriptor}").readlink().relative_to(tmp_path)
        steps.append((str(path), (tmp_path / "final").exists()))

    monkeypatch.setattr(os, "fsync", recorded)
    return steps


def test_every_file_and_folder_is_durable_before_the_directory_has_its_name(
    tmp_path: Path, synced: Steps
) -> None:
    with published_directory(tmp_path / "final") as scratch:
        (scratch / "inner").mkdir()
        (scratch / "inner" / "image.npy").write_bytes(b"pixels")
        (scratch / "record.json").write_bytes(b"{}")
        assert not (tmp_path / "final").exists()
    before = {scratch.name, f"{scratch.name}/inner", f"{scratch.name}/record.json"}
    before.add(f"{scratch.name}/inner/image.npy")
    assert {path for path, named in synced if not named} == before
    assert synced[-1] == (".", True)
    assert (tmp_path / "final" / "inner" / "image.npy").read_bytes() == b"pixels"


def test_what_an_earlier_try_left_is_gone(tmp_path: Path) -> None:
    for name in (".final.4711", ".final.2-4711", ".final.3-4711"):
        (tmp_path / name).mkdir()
    with published_directory(tmp_path / "final", epoch=3) as scratch:
        (scratch / "new").touch()
    assert [path.name for path in tmp_path.iterdir()] == ["final"]
    assert [path.name for path in (tmp_path / "final").iterdir()] == ["new"]


def test_who_was_taken_for_dead_removes_and_replaces_nothing(tmp_path: Path) -> None:
    """Two are at the same work: one of an ended epoch, one that took it over."""
    with published_directory(tmp_path / "final", epoch=5) as late:
        with published_directory(tmp_path / "final", epoch=4) as ended:
            (ended / "of 4").touch()
            assert late.exists()
        (late / "of 5").touch()
    assert [path.name for path in tmp_path.iterdir()] == ["final"]
    assert [path.name for path in (tmp_path / "final").iterdir()] == ["of 4"]
    with published_path(tmp_path / "maps", epoch=5) as late:
        late.write_bytes(b"of 5")
        with published_path(tmp_path / "maps", epoch=4) as ended:
            ended.write_bytes(b"of 4")
    assert (tmp_path / "maps").read_bytes() == b"of 4"
    assert len(list(tmp_path.iterdir())) == 2


def test_a_path_is_durable_before_it_has_its_name(tmp_path: Path, synced: Steps) -> None:
    with published_path(tmp_path / "final") as scratch:
        scratch.write_bytes(b"coil maps")
    assert synced == [(scratch.name, False), (".", True)]
    assert (tmp_path / "final").read_bytes() == b"coil maps"
