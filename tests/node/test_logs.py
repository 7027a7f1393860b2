"""Log lines cannot hold patient data: closed fields for us, no texts from libraries."""

import io
import json
import logging
import re
import subprocess
import sys
import warnings
from datetime import datetime
from pathlib import Path

import pytest

from lfmri_node.node import logs

SENTINEL = "Zzyzx^Sentinella"


def line_of(record: logging.LogRecord) -> str:
    return logs.LineFormatter().format(record)


def record(name: str, message: str, *arguments: object, **extra: object) -> logging.LogRecord:
    made = logging.LogRecord(name, logging.ERROR, "/somewhere/module.py", 12, message, arguments, None)
    made.__dict__.update(extra)
    return made


def test_our_line_has_time_level_event_and_fields(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "lfmri_node"):
        logs.event("stage.done", job="abc", stage="encoded", seconds=1.23456, message="two words")
    line = line_of(caplog.records[0])
    assert line.endswith('info stage.done job=abc stage=encoded seconds=1.235 message="two words"')
    assert line[:4].isdigit()


def test_a_field_that_is_not_listed_is_an_error() -> None:
    with pytest.raises(ValueError, match="patient"):
        logs.event("stage.done", patient="x")


def test_a_line_stays_one_line() -> None:
    fields = {"message": "first\nsecond"}
    assert "\n" not in line_of(record("lfmri_node", "e", fields=fields))


def test_texts_of_libraries_are_left_out() -> None:
    line = line_of(record("pynetdicom.acse", "dataset of %s", SENTINEL))
    assert SENTINEL not in line
    assert "library at=pynetdicom.acse:module:12" in line


def test_exceptions_of_libraries_are_reduced_to_type_and_place() -> None:
    made = record("dbos", "failed")
    try:
        raise KeyError(SENTINEL)
    except KeyError:
        made.exc_info = sys.exc_info()
    line = line_of(made)
    assert SENTINEL not in line
    assert "error=KeyError trace=test_logs:" in line


def test_a_library_that_says_the_same_again_and_again_is_heard_once_a_minute(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    once, present = logs.LibrariesOnce(), 0.0
    monkeypatch.setattr(logs.time, "monotonic", lambda: present)
    assert [once.filter(record("dbos", "x")) for _ in range(3)] == [True, False, False]
    assert once.filter(record("pynetdicom.dul", "x"))
    failed = record("dbos", "x")
    failed.exc_info = (KeyError, None, None)
    assert once.filter(failed), "another error at the same place"
    assert all(once.filter(record("lfmri_node", "x", fields={})) for _ in range(3))
    present = 61.0
    again = record("dbos", "x")
    assert once.filter(again)
    assert line_of(again).endswith(" library at=dbos:module:12 more=2")


def test_texts_of_dicom_io_are_kept() -> None:
    assert 'dicom_io.receive.listener message="LF-NET-001: rejected"' in line_of(
        record("lfmri_node.dicom_io.receive.listener", "%s: rejected", "LF-NET-001")
    )


def test_crashes_and_warnings_lose_their_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr("threading.excepthook", sys.excepthook)
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    logs.silence_texts(stream)
    try:
        raise RuntimeError(SENTINEL)
    except RuntimeError:
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
    warnings.showwarning(SENTINEL, UserWarning, "/x/pydicom.py", 3)
    text = stream.getvalue()
    assert SENTINEL not in text
    assert "critical crash error=RuntimeError trace=test_logs:" in text
    assert "warning library at=pydicom:3 kind=UserWarning" in text


def test_configured_logging_writes_the_file_too(tmp_path: Path) -> None:
    """In a process of its own, because it replaces the handlers of the root logger."""
    import subprocess

    file = tmp_path / "logs" / "node.log"
    program = (
        "import logging, sys, pathlib; from lfmri_node.node import logs;"
        f"logs.configure('warning', pathlib.Path({str(file)!r}));"
        "logs.event('quiet'); logs.event('loud', level=logging.WARNING, job='abc');"
        "logging.getLogger('pynetdicom').error('x'); logging.getLogger('dbos').warning('y')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    lines = file.read_text().splitlines()
    assert done.stderr.splitlines() == lines
    assert [line.split(" ", 1)[1] for line in lines] == [
        "warning loud job=abc",
        "error library at=pynetdicom:<string>:1",
    ]


def test_the_log_file_is_renamed_when_it_is_full(tmp_path: Path) -> None:
    file = tmp_path / "node.log"
    code = (
        "import sys, pathlib; from lfmri_node.node import logs\n"
        "logs.configure('info', pathlib.Path(sys.argv[1]), max_mb=0.01, keep=2)\n"
        "for n in range(1000): logs.event('stage.done', count=n)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(file)], check=True, stderr=subprocess.DEVNULL)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["node.log", "node.log.1", "node.log.2"]
    assert all(path.stat().st_size <= 10_000 for path in tmp_path.iterdir())
    assert file.read_text().splitlines()[-1].endswith("count=999")


def test_a_file_that_another_process_appends_to_is_cut(tmp_path: Path) -> None:
    file = tmp_path / "worker.log"
    with file.open("ab", buffering=0) as writer:
        writer.write(b"x" * 20_000)
        logs.cut(file, max_mb=0.02)
        assert file.stat().st_size == 20_000
        logs.cut(file, max_mb=0.01)
        writer.write(b"more")
    assert file.read_bytes() == b"more"
    assert (tmp_path / "worker.log.1").stat().st_size == 20_000


def test_json_lines_say_the_same(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "lfmri_node"):
        logs.event("stage.done", job="abc", stage="encoded", seconds=1.25, message='two "words"')
    line = json.loads(logs.JsonFormatter().format(caplog.records[0]))
    assert datetime.fromisoformat(line.pop("at")).tzinfo is not None
    assert line == {
        "level": "info",
        "event": "stage.done",
        "job": "abc",
        "stage": "encoded",
        "seconds": 1.25,
        "message": 'two "words"',
    }


def test_json_lines_of_libraries_and_of_the_network() -> None:
    form = logs.JsonFormatter()
    line = json.loads(form.format(record("pynetdicom.acse", "dataset of %s", SENTINEL)))
    assert (line["event"], line["place"]) == ("library", "pynetdicom.acse:module:12")
    assert SENTINEL not in str(line)
    line = json.loads(form.format(record("lfmri_node.dicom_io.receive.tally", "%s: no", "LF-NET-001")))
    assert (line["code"], line["message"]) == ("LF-NET-001", "LF-NET-001: no")


def test_everything_that_a_process_says_is_json() -> None:
    code = (
        "import logging, threading, warnings; from lfmri_node.node import logs;"
        "logs.configure('info', form='json');"
        f"logs.event('e', job='a'); warnings.warn('{SENTINEL}');"
        f"logging.getLogger('pydicom').error('{SENTINEL}');"
        f"t = threading.Thread(target=lambda: int('{SENTINEL}')); t.start(); t.join();"
        f"raise ValueError('{SENTINEL}')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [line["event"] for line in lines] == ["e", "library", "library", "crash", "crash"]
    assert SENTINEL not in done.stderr


def test_every_field_is_documented() -> None:
    page = (Path(__file__).parents[2] / "deploy" / "docs" / "monitoring.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"^\| `(\w+)` \|", page.partition("## The log")[2], re.MULTILINE))
    beside = {"at", "level", "event", "place", "error", "trace", "kind", "more"}
    assert documented == logs.FIELDS | beside
