"""A watched export folder at the scanner's side: conversion, a node that is away, kills, and what fails."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lfmri_node.node.errors import NodeError
from lfmri_node.node.gateway.steps import Converter

WHO = 'PatientID = "SENTINEL-4711"\nPatientName = "Zzyzx^Sentinella"\n'
CONVERTER = """
import shutil, sys
source, out = sys.argv[1:]
data = open(source, "rb").read()
print("header of", source)
if not data.startswith(b"VENDOR"):
    sys.exit("no vendor file: Zzyzx^Sentinella")
open(out, "wb").write(data[6:])
"""


@pytest.fixture
def export(tmp_path: Path) -> Path:
    folder = tmp_path / "export"
    folder.mkdir()
    (tmp_path / "who.toml").write_text(WHO)
    (tmp_path / "convert.py").write_text(CONVERTER)
    return folder


def words(export: Path, port: int, *more: str) -> list[str]:
    program = [sys.executable, "-m", "lfmri_node.node.cli", "gateway", "watch", str(export)]
    who = ["--identity", str(export.parent / "who.toml")]
    return [*program, "--to", f"LFMRI@127.0.0.1:{port}", "--settle", "0.1", *who, "--json", *more]


def converting(export: Path) -> list[str]:
    return ["--convert", f"{sys.executable} {export.parent / 'convert.py'} {{in}} {{out}}"]


def once(export: Path, port: int, *more: str) -> tuple[int, dict]:
    done = subprocess.run(
        [*words(export, port, *more), "--once"], capture_output=True, text=True, check=False
    )
    assert "SENTINEL" not in done.stderr
    return done.returncode, json.loads(done.stdout)


@pytest.fixture
def watching(export: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    started = []

    def start(port: int, *more: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            words(export, port, *more), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def wait_line(process: subprocess.Popen[str], text: str) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        if text in line:
            return
    raise AssertionError(f"the watcher ended without {text!r}")


def test_a_vendor_file_is_converted_sent_and_moved(node, export, make_scan) -> None:
    node.start()
    (export / "meas.dat").write_bytes(b"VENDOR" + make_scan().read_bytes())
    status, report = once(export, node.port, *converting(export))
    assert (status, report) == (0, {"sent": ["meas.dat"], "failed": [], "waiting": []})
    assert (export / "sent" / "meas.dat").exists()
    assert [path.name for path in (export / ".lfmri-queue").iterdir()] == ["lock"]
    (job,) = node.wait_finished()
    assert job.calling_ae == "GATEWAY"


def test_a_file_of_the_public_generator_is_sent_with_an_identity_of_its_own(node, export, program) -> None:
    generate = program("ismrmrd_generate_cartesian_shepp_logan")
    subprocess.run(
        [generate, "-m", "64", "-c", "4", "-o", str(export / "phantom.h5")], check=True, capture_output=True
    )
    (export / "phantom.h5.identity.toml").write_text('PatientID = "SENTINEL-OWN"\n')
    node.start()
    status, report = once(export, node.port)
    assert (status, report["sent"]) == (0, ["phantom.h5"])
    assert (export / "sent" / "phantom.h5.identity.toml").exists()
    node.wait_for(lambda jobs: len(jobs) == 1)


def test_a_node_that_is_away_loses_nothing(node, export, make_scan, watching) -> None:
    node.start()
    port = node.port
    node.kill()
    shutil.copy(make_scan(), export / "scan.h5")
    status, report = once(export, port)
    assert status == 1
    assert report["waiting"] == [{"file": "scan.h5", "tries": 1, "code": "LF-DEL-022"}]
    watcher = watching(port)
    wait_line(watcher, "gateway.waits")
    node.config.write_text(node.config.read_text().replace("port = 0", f"port = {port}", 1))
    node.start()
    wait_line(watcher, "gateway.sent")
    watcher.send_signal(signal.SIGTERM)
    out, _ = watcher.communicate()
    assert watcher.returncode == 0
    assert json.loads(out)["sent"] == ["scan.h5"]
    assert len(node.wait_finished()) == 1


def test_what_a_converter_cannot_read_is_put_aside_and_the_next_goes_on(node, export, make_scan) -> None:
    node.start()
    (export / "bad.dat").write_bytes(b"nothing of a vendor")
    (export / "good.dat").write_bytes(b"VENDOR" + make_scan().read_bytes())
    status, report = once(export, node.port, *converting(export))
    assert status == 1
    assert report["sent"] == ["good.dat"]
    assert [(item["file"], item["code"]) for item in report["failed"]] == [("bad.dat", "LF-GWY-003")]
    assert (export / "failed" / "bad.dat.txt").read_text().startswith("LF-GWY-003: ")
    assert "no vendor file" in (export / "failed" / "bad.dat.log").read_text()
    assert (export / "failed" / "bad.dat").exists()


def test_what_the_node_refuses_for_good_is_put_aside(node, export) -> None:
    node.start()
    (export / "no.h5").write_bytes(b"no HDF5")
    status, report = once(export, node.port)
    assert status == 1
    assert [item["code"] for item in report["failed"]] == ["LF-RAW-001"]


def test_a_watcher_killed_after_the_nodes_promise_sends_nothing_twice(
    node, export, make_scan, watching
) -> None:
    hold = node.hold("received.after")
    node.start()
    (export / "meas.dat").write_bytes(b"VENDOR" + make_scan().read_bytes())
    watcher = watching(node.port, *converting(export))
    hold.wait()
    watcher.kill()
    hold.remove_and_release()
    status, report = once(export, node.port, *converting(export))
    assert (status, report["sent"]) == (0, ["meas.dat"])
    assert len(node.wait_finished()) == 1


def test_two_watchers_do_not_share_a_folder(node, export, watching) -> None:
    node.start()
    wait_line(watching(node.port), "gateway.watches")
    status, report = once(export, node.port)
    assert (status, report["error"]["code"]) == (1, "LF-GWY-001")


def test_a_converter_has_no_shell_a_time_limit_and_an_end_with_the_watcher(tmp_path: Path) -> None:
    source, out, log, stop = tmp_path / "a b;touch x", tmp_path / "out", tmp_path / "log", threading.Event()
    source.write_bytes(b"data")
    Converter.of("cp {in} {out}", 10).run(source, out, log, stop)
    assert out.read_bytes() == b"data"
    with pytest.raises(NodeError, match="LF-GWY-004"):
        Converter.of("sh -c 'sleep 60' {in} {out}", 0.5).run(source, out, log, stop)
    with pytest.raises(NodeError, match="LF-GWY-003"):
        Converter.of("/nowhere/at-all {in} {out}", 10).run(source, out, log, stop)
    with pytest.raises(NodeError, match="LF-GWY-003"):
        Converter.of("true {in} {out}", 10).run(source, out, log, stop)
    for text in ("cp {in} out", "cp in {out}", "cp '{in} {out}"):
        with pytest.raises(NodeError, match="LF-GWY-002"):
            Converter.of(text, 10)
    assert not os.path.exists("x")  # noqa: PTH110
