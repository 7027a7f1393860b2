"""``[mrd]`` and ``[[folders]]`` change while a node runs: no stream is cut, no file torn or taken twice."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path

import pytest
from mrd_client import Sender, messages, stream
from open_doors import IDENTITY, MRD, port_of
from orthanc_archive import free_port

from lfmri_node.node.errors import JobError
from lfmri_node.node.reload import ask

FOLDER = '\n[[folders]]\npath = "{}"\nae_title = "{}"\nsettle_s = 0.2\n'


def set_to(node, extra: str, *, port: int | None = None) -> tuple[str, ...]:
    """Give a running node another configuration; the keys that took effect, and none waits for a restart."""
    node.configure(extra if port is None else extra.replace("port = 0\n", f"port = {port}\n"))
    found = ask(node.layout)
    assert found.needs_restart == ()
    return found.applied


def is_open(port: int) -> bool:
    with socket.socket() as caller:
        return caller.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def drop(node) -> Path:
    folder = node.folder / "drop"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("after", ["moved", "closed"])
def test_a_stream_under_way_outlives_its_port(node, make_scan, after) -> None:
    node.configure(MRD)
    node.start()
    before, moved = port_of(node), free_port()
    begin, *rest = messages(make_scan(identity=IDENTITY))
    with Sender(before) as sender:
        sender.say(begin, *rest[:9])
        if after == "moved":
            assert set_to(node, MRD, port=moved) == ("mrd.port",)
            said, _ = stream(moved, make_scan("second.h5", seed=1, identity=IDENTITY))
            assert "error" not in said
        else:
            assert "mrd.allow" in set_to(node, "# no door")
        assert not is_open(before)
        sender.say(*rest[9:])
        said, _ = sender.answer()
    assert said["held"] is False
    jobs = node.wait_finished(2 if after == "moved" else 1)
    assert any(job.parent.startswith(said["job"]) for job in jobs)


def test_a_door_that_is_added_lets_its_callers_in_and_a_limit_holds_for_the_next(node, make_scan) -> None:
    node.start()
    port = free_port()
    assert set(set_to(node, MRD, port=port)) >= {"mrd.allow", "mrd.port"}
    scan = make_scan(identity=IDENTITY)
    assert "job" in stream(port, scan)[0]
    one = MRD.replace("max_connections = 3", "max_connections = 1")
    assert set_to(node, one, port=port) == ("mrd.max_connections",)
    with Sender(port) as first:
        first.say(next(messages(scan)))
        node.wait_line(" config.reloaded what=mrd.max_connections")
        with Sender(port) as second:
            assert second.answer()[0]["error"]["code"] == "LF-DOR-011"


def test_a_door_that_cannot_be_opened_changes_nothing(node, make_scan) -> None:
    node.configure(MRD)
    node.start()
    before = port_of(node)
    tls = "\n[mrd.tls]\ncertificate = 'absent'\nkey = 'absent'\nca = 'absent'\n"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        occupied = taken.getsockname()[1]
        for extra, port, code in ((MRD, occupied, "LF-JOB-008"), (MRD + tls, free_port(), "LF-NET-043")):
            with pytest.raises(JobError) as caught:
                set_to(node, extra.replace("SCANNER", "OTHER"), port=port)
            assert caught.value.code == code
            assert is_open(before)
    stream(before, make_scan(identity=IDENTITY))
    (job,) = node.wait_finished()
    assert job.calling_ae == "SCANNER"


def test_half_a_file_is_left_alone_by_a_folder_that_changes(node, drop, make_scan) -> None:
    node.configure(FOLDER.format("drop", "FIRST"))
    node.start()
    content = make_scan(identity=IDENTITY).read_bytes()
    with (drop / "slow.h5").open("wb") as file:
        file.write(content[:-100])
        file.flush()
        assert set_to(node, FOLDER.format("drop", "SECOND")) == ("folders",)
        shutil.copy(make_scan("other.h5", seed=1, identity=IDENTITY), drop / "other.h5")
        node.wait_for(lambda _jobs: (drop / "taken" / "other.h5").exists())
        file.write(content[-100:])
    node.wait_for(lambda _jobs: (drop / "taken" / "slow.h5").exists())
    assert {job.calling_ae for job in node.wait_finished(2)} == {"SECOND"}
    assert not (drop / "refused").exists()


def test_a_folder_is_watched_once_it_is_named_and_no_longer_when_it_is_not(node, drop, make_scan) -> None:
    other = node.folder / "other"
    other.mkdir()
    node.configure(FOLDER.format("drop", "FIRST"))
    node.start()
    assert set_to(node, FOLDER.format("other", "SECOND")) == ("folders",)
    shutil.copy(make_scan(identity=IDENTITY), drop / "scan.h5")
    shutil.copy(make_scan("second.h5", seed=1, identity=IDENTITY), other / "scan.h5")
    (job,) = node.wait_finished()
    assert job.calling_ae == "SECOND"
    assert [path.name for path in drop.iterdir()] == ["scan.h5"]


def test_a_folder_that_comes_back_while_its_file_is_taken_in_has_it_once(node, drop, make_scan) -> None:
    hold = node.hold("received.before")
    node.configure(FOLDER.format("drop", "FIRST"))
    node.start()
    shutil.copy(make_scan(identity=IDENTITY), drop / "scan.h5")
    hold.wait()
    set_to(node, "# none")
    set_to(node, FOLDER.format("drop", "SECOND"))
    hold.remove_and_release()
    (job,) = node.wait_finished()
    node.wait_for(lambda _jobs: (drop / "taken").exists())
    shutil.copy(make_scan("second.h5", seed=1, identity=IDENTITY), drop / "scan.h5")
    assert {each.calling_ae for each in node.wait_finished(2)} == {"FIRST", "SECOND"}
    assert {path.name for path in (drop / "taken").iterdir()} == {"scan.h5", "scan-1.h5"}
    assert job.calling_ae == "FIRST"
