"""What monitoring is told by a node in its own process: read by the parser of Prometheus' own client."""

import json
import re
import signal
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from lfmri_node.dicom_io.deliver.association import DicomDestination, echo
from lfmri_node.node.jobs.figures import Figures
from lfmri_node.node.jobs.job import Stage
from lfmri_node.node.jobs.store import Store
from lfmri_node.node.layout import Layout
from lfmri_node.node.monitor.metrics import Durations
from lfmri_node.node.monitor.vitals import Vitals, alive, ready
from lfmri_node.recon.mrd.file import sha256_of

ROOT = Path(__file__).parents[3]
LABELS = {"stage", "code", "outcome", "verdict", "destination", "state", "overdue", "version", "le"}


def ask(port: int, path: str) -> tuple[int, str]:
    """Status and body of a page."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def samples(port: int) -> dict[tuple[str, tuple[str, ...]], float]:
    """Name and label values of every sample of /metrics."""
    status, text = ask(port, "/metrics")
    assert status == 200
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found[sample.name, tuple(sample.labels[name] for name in sorted(sample.labels))] = sample.value
    return found


def monitored(node, extra: str = "") -> int:
    """Start a node with the pages on a free port; returns it."""
    node.configure(f"[monitor]\nport = 0\n{extra}")
    node.start()
    (line,) = [line for line in node.lines if " monitor.ready " in line]
    return int(line.split("port=")[1].split()[0])


def wait_for(port: int, path: str, wanted: Callable[[int, str], bool]) -> str:
    """Ask again and again until the answer is as wanted (pytest's timeout ends a vain wait)."""
    pause = threading.Event()
    while not wanted(*(answer := ask(port, path))):
        pause.wait(0.02)
    return answer[1]


def test_a_scan_is_counted_and_nobody_is_named(node, pacs, make_scan) -> None:
    port = monitored(node)
    assert ask(port, "/healthz")[0] == 200
    wait_for(port, "/readyz", lambda status, _: status == 200)
    before = samples(port)
    assert before["lfmri_jobs", ("sent",)] == 0
    node.send(make_scan())
    (job,) = node.wait_finished()
    stranger = DicomDestination(
        name="node", host="127.0.0.1", port=node.port, ae_title="LFMRI", calling_ae_title="STRANGER"
    )
    assert not echo(stranger).answered
    found = samples(port)
    assert found["lfmri_jobs", ("sent",)] == 1
    assert found["lfmri_scans", ("FALLBACK",)] == 1
    assert found["lfmri_deliveries", ("pacs", "done")] == 1
    assert found["lfmri_destination_failing_seconds", ("pacs",)] == 0
    assert found["lfmri_associations_total", ("accepted",)] == 1
    assert found["lfmri_associations_total", ("LF-NET-001",)] == 1
    assert found["lfmri_worker_starts_total", ()] == 1
    for stage in ("decoded", "calibrated", "reconstructed", "encoded", "sent"):
        assert found["lfmri_tries_total", ("done", stage)] == 1
        assert found["lfmri_stage_seconds_count", (stage,)] == 1
        assert found["lfmri_stage_seconds_bucket", ("+Inf", stage)] == 1
    text = ask(port, "/metrics")[1]
    secret = ("SENTINEL", "Zzyzx", "GATEWAY", "STRANGER", "127.0.0.1", job.key[:8])
    assert [word for word in secret if word in text] == []
    families = list(text_string_to_metric_families(text))
    assert {name for family in families for s in family.samples for name in s.labels} <= LABELS


def test_what_is_in_quarantine_is_counted_by_its_code(node, make_scan) -> None:
    scan = make_scan()
    node.holds.mkdir(parents=True)
    port = monitored(node)
    (node.holds / "reconstruct.dies").write_text(sha256_of(scan))
    node.send(scan)
    node.wait_for(lambda jobs: any(job.stage == "quarantined" for job in jobs))
    found = samples(port)
    assert found["lfmri_quarantined_jobs", ("LF-JOB-015",)] == 1
    assert found["lfmri_tries_total", ("LF-JOB-011", "reconstructed")] == 3
    assert found["lfmri_worker_starts_total", ()] >= 3


def test_a_node_that_is_about_to_end_lives_and_is_not_ready(node, make_scan) -> None:
    held = node.hold("reconstruct.before")
    port = monitored(node)
    node.send(make_scan())
    held.wait()
    assert samples(port)["lfmri_oldest_waiting_seconds", ("calibrated",)] > 0
    node.process.send_signal(signal.SIGTERM)
    answer = wait_for(port, "/readyz", lambda status, text: "about to end" in text)
    assert json.loads(answer)["good"] is False
    held.remove_and_release()
    assert node.stop_waiting() == 0


def test_a_full_disk_is_a_reason(node) -> None:
    node.configure("[monitor]\nport = 0")
    text = node.config.read_text()
    node.config.write_text(text.replace("free_space_floor_gb = 0", "free_space_floor_gb = 1000000"))
    node.start()
    (line,) = [line for line in node.lines if " monitor.ready " in line]
    status, answer = ask(int(line.split("port=")[1].split()[0]), "/readyz")
    assert status == 503
    assert any("free_space_floor_gb" in reason for reason in json.loads(answer)["reasons"])


def test_whoever_drips_is_cut_off_and_keeps_no_place(node) -> None:
    port = monitored(node)
    drips = [socket.create_connection(("127.0.0.1", port)) for _ in range(8)]
    pause, open_still = threading.Event(), list(drips)
    while open_still:  # pytest's timeout ends a vain wait
        pause.wait(0.2)
        for drip in list(open_still):
            try:
                drip.sendall(b"G")
            except OSError:
                open_still.remove(drip)
                drip.close()
    assert ask(port, "/healthz")[0] == 200


def test_without_a_port_nothing_listens(node) -> None:
    node.start()
    connections = psutil.Process(node.process.pid).net_connections()
    assert {c.laddr.port for c in connections if c.status == psutil.CONN_LISTEN} == {node.port}


def test_a_taken_port_is_named(node) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        node.configure(f"[monitor]\nport = {other.getsockname()[1]}")
        node.launch_command()
        node.wait_line("LF-OPS-001")


WELL = Vitals(
    listens=lambda: True,
    moves_jobs=lambda: True,
    worker_was_warm=lambda: True,
    worker_starts=lambda: 1,
    draining=lambda: False,
    associations=dict,
    shut=dict,
)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(root=tmp_path)
    Store(layout.job_table).close()
    return layout


@pytest.mark.parametrize(
    ("changed", "lives", "why"),
    [
        ({"listens": lambda: False}, False, "nobody is let in"),
        ({"moves_jobs": lambda: False}, False, "no workflow is started"),
        ({"worker_was_warm": lambda: False}, True, "the reconstruction process is starting"),
        ({"draining": lambda: True}, True, "the service is about to end"),
    ],
)
def test_each_part_counts(layout: Layout, changed: dict, lives: bool, why: str) -> None:
    vitals = replace(WELL, **changed)
    assert alive(vitals, layout.job_table).good is lives
    report = ready(vitals, layout.job_table, layout.root, floor_gb=0)
    assert [check.reason for check in report.checks if check.reason] == [why]


def test_a_job_table_that_is_none_is_a_reason(layout: Layout) -> None:
    assert alive(WELL, layout.job_table).good
    layout.job_table.write_bytes(b"no database" * 1000)
    report = alive(WELL, layout.job_table)
    assert not report.good
    assert "DatabaseError" in report.document()["reasons"][0]


def test_tries_are_counted_once_whoever_ends_them_when(layout: Layout, add_measurement) -> None:
    for key in ("a" * 64, "b" * 64):
        add_measurement(layout.root.parent / "n", key)
    place = layout.root.parent / "n" / "data" / "state" / "node.sqlite"
    store, table, counted = Store(place), Figures(place), Durations()
    store.begin("a" * 64, Stage.DECODED)
    counted.begin(table)
    store.begin("b" * 64, Stage.DECODED)
    store.split("b" * 64, [], seconds=2.0, learned={})
    counted.update(table)
    counted.update(table)
    assert counted.outcomes == {(Stage.DECODED, "done"): 1}
    store.split("a" * 64, [], seconds=0.05, learned={})  # begun before what was counted already
    counted.update(table)
    assert counted.outcomes == {(Stage.DECODED, "done"): 2}
    assert counted.buckets[Stage.DECODED][:4] == [1, 0, 0, 1]
    assert counted.sums[Stage.DECODED] == pytest.approx(2.05)


def test_alarms_ask_for_metrics_that_exist_and_each_has_its_line_for_operators(node) -> None:
    document = yaml.safe_load((ROOT / "deploy/prometheus/alerts.yaml").read_text(encoding="utf-8"))
    rules = [rule for group in document["groups"] for rule in group["rules"]]
    text = ask(monitored(node), "/metrics")[1]
    families = {family.name for family in text_string_to_metric_families(text)}
    page = (ROOT / "deploy/docs/for-operators.md").read_text(encoding="utf-8")
    for rule in rules:
        plain = {name.removesuffix("_total") for name in re.findall(r"lfmri_\w+", rule["expr"])}
        assert plain <= families, rule["alert"]
        assert f"| `{rule['alert']}` |" in page
        assert set(rule["annotations"]) == {"summary", "runbook"}
    assert len(rules) == page.count("| `Lfmri")
