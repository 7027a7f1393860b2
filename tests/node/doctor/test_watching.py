"""doctor asks the pages of a running node, and the servers that tell people."""

import socket
from pathlib import Path

from servers import Hook, serving

from lfmri_node.node.config import load
from lfmri_node.node.doctor.examine import examine
from lfmri_node.node.doctor.findings import Finding, State


def found(config: Path, check: str) -> list[Finding]:
    return [item for item in examine(lambda: load(config)) if item.check == check]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_what_readyz_says_is_a_finding(node) -> None:
    port = free_port()
    node.configure(f"[monitor]\nport = {port}")
    assert found(node.config, "monitor") == []  # nobody serves
    text = node.config.read_text()
    node.config.write_text(text.replace("free_space_floor_gb = 0", "free_space_floor_gb = 1000000"))
    node.start()
    (full,) = found(node.config, "monitor")
    assert (full.state, full.code) == (State.WARNING, "LF-DOC-036")
    assert "free_space_floor_gb" in full.message
    node.config.write_text(text.replace(f"port = {port}", f"port = {free_port()}"))  # not read yet
    (silent,) = found(node.config, "monitor")
    assert (silent.state, silent.code) == (State.WARNING, "LF-DOC-036")
    with serving(other := Hook()):  # somebody else's web server, which answers with a page of its own
        node.config.write_text(text.replace(f"port = {port}", f"port = {other.server_port}"))
        (strange,) = found(node.config, "monitor")
    assert (strange.state, strange.code) == (State.WARNING, "LF-DOC-036")


def test_ways_of_telling_are_tried_one_by_one(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        hooks = "".join(
            f'[[notify]]\nkind = "webhook"\nname = "{name}"\nurl = "http://127.0.0.1:{port}/"\n{more}'
            for name, port, more in (
                ("good", server.getsockname()[1], ""),
                ("away", free_port(), ""),
                ("poor", server.getsockname()[1], 'secret_file = "absent"\n'),
            )
        )
        path = tmp_path / "config.toml"
        path.write_text(hooks)
        states = {name: found(path, f"notify {name}") for name in ("good", "away", "poor")}
    assert [item.state for item in states["good"]] == [State.OK]
    assert [(item.state, item.code) for item in states["away"]] == [(State.WARNING, "LF-DOC-036")]
    assert [(item.state, item.code) for item in states["poor"]] == [(State.FAILED, "LF-CFG-005")]
