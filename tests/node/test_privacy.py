"""Patient data stays in DICOM files: a whole life with failures, and no line or answer that holds any."""

import subprocess
import sys

import psutil
import pytest

from lfmri_node.node.errors import NodeError
from lfmri_node.node.jobs.job import Stage
from lfmri_node.recon.types import ScanIdentity

SENTINELS = ("SENTINEL-4711", "Zzyzx", "Sentinella", "1.2.826.0.1.3680043.8.498.4711", "ACC-4711")


def cli(node, *arguments: str) -> str:
    command = [sys.executable, "-m", "lfmri_node.node.cli", *arguments, "--config", str(node.config)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def everything_said(node) -> dict[str, str]:
    """All lines and answers of a node, by where they were found."""
    said = {"log": "".join(node.lines)}
    said |= {str(path): path.read_text(errors="replace") for path in (node.layout.root / "logs").rglob("*")}
    said |= {" ".join(a): cli(node, *a) for a in (("status",), ("status", "--json"), ("doctor",))}
    for job in node.jobs():
        said[f"status {job.name}"] = cli(node, "status", job.name) + cli(node, "status", job.name, "--json")
    state = [path for path in node.layout.state.iterdir() if path.is_file()]
    said |= {str(path): path.read_bytes().decode("latin-1") for path in state}
    return said


def test_no_patient_data_in_any_log_line_or_answer(node, pacs, make_scan) -> None:
    good = make_scan("good.h5", seed=1)
    nowhere = make_scan("nowhere.h5", seed=2, read_dir=(0.0, 0.0, 0.0))
    other = make_scan("other.h5", seed=3, identity=ScanIdentity(patient_id="SOMEBODY-ELSE"))
    given = {"StudyInstanceUID": SENTINELS[3], "AccessionNumber": SENTINELS[4]}
    refusals = iter([0xA700, 0x0000, 0x0000, 0xC000])
    pacs.before_answer = lambda _uid: next(refusals, 0x0000)
    node.start(light=False)
    node.send(good, **given)
    node.send(nowhere, **given)
    node.send_as_another_gateway(other, **given)
    with pytest.raises(NodeError, match="0xC114 other attributes") as caught:
        node.send(good, **{**given, "AccessionNumber": SENTINELS[4] + "-2"})
    node.wait_for(
        lambda jobs: len(jobs) == 3 and all(job.finished_at or job.stage is Stage.QUARANTINED for job in jobs)
    )
    codes = {job.failure.code if job.failure else None for job in node.jobs()}
    assert {"LF-JOB-022", "LF-JOB-023"} <= codes
    node.stop()
    for where, text in everything_said(node).items():
        found = [sentinel for sentinel in SENTINELS if sentinel in text]
        assert not found, f"{found} in {where}"
    assert not any(sentinel in str(caught.value) for sentinel in SENTINELS)
    assert "measurement.received" in "".join(node.lines)
    assert "LF-NET-019" in "".join(node.lines)


def test_the_listening_process_holds_no_numerics_and_talks_to_nobody(node, make_scan) -> None:
    node.start(light=False)
    node.send(make_scan())
    node.wait_for(
        lambda jobs: len(jobs) == 1 and jobs[0].stage is not Stage.RECEIVED
    )  # the worker has answered
    serve = psutil.Process(node.process.pid)
    (worker,) = serve.children()
    numerics = ("libtorch",)
    loaded = {
        process.pid: {name for name in numerics if any(name in m.path for m in process.memory_maps())}
        for process in (serve, worker)
    }
    assert loaded == {serve.pid: set(), worker.pid: set(numerics)}
    assert worker.net_connections() == []
    connections = serve.net_connections()
    assert [c.laddr.port for c in connections if c.status == psutil.CONN_LISTEN] == [node.port]
    assert all(c.laddr.ip == "127.0.0.1" for c in connections)
    assert all(c.raddr.ip == "127.0.0.1" for c in connections if c.raddr)
