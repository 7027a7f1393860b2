"""Tables fit a terminal of 80 columns, whatever stands in them, and lose nothing of it."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from rich.cells import cell_len

from lfmri_node.dicom_io.types import DeliveryReceipt, EncodedObject
from lfmri_node.node import job_view, upkeep, views
from lfmri_node.node.corrections import Accepted, Delivered
from lfmri_node.node.doctor.findings import Finding, State, print_findings
from lfmri_node.node.jobs.job import Failure, Stage
from lfmri_node.node.jobs.purges import What
from lfmri_node.node.jobs.store import ScanFound, Store
from lfmri_node.node.retention.plan import Purge
from lfmri_node.node.terminal.tables import show, table

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
UID = "2.25." + "9" * 39
SENTENCE = "the archive refuses what it is sent, and says so with a sentence that does not fit one line"
DESTINATION = "archive-of-the-department-of-radiology"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Three scans: one that waits, one in quarantine, one that is being computed; two hold objects."""
    store = Store(tmp_path / "state" / "node.sqlite")
    part = tmp_path / "spool" / "one.dcm"
    part.parent.mkdir()
    part.touch()
    store.add_measurement(
        key="a" * 64, source_sha256="d" * 64, calling_ae="GATEWAY", received_at=AT, recipe={}, parts=[part]
    )
    store.begin("a" * 64, Stage.DECODED)
    scans = [ScanFound(key=digit * 64, contrast=i, repetition=0) for i, digit in enumerate("bcd")]
    learned = {"verdict": "FALLBACK", "lesion_map": "1234567 voxels marked; NOT VALIDATED", "n_slices": 36}
    waits, held, runs = store.split("a" * 64, scans, seconds=0.1, learned={})
    for job in (waits, held):
        for stage in (Stage.CALIBRATED, Stage.RECONSTRUCTED):
            store.begin(job.key, stage)
            store.finish(job.key, stage, seconds=12345.678, learned=learned)
        objects = [
            EncodedObject(
                path=tmp_path / "objects" / job.key[:32] / f"image-{i:04d}.dcm",
                sha256="0" * 64,
                role="image",
                sop_class_uid="1.2.840.10008.5.1.4.1.1.4",
                sop_instance_uid=f"{UID}.{i}",
                series_instance_uid=UID,
            )
            for i in range(2)
        ]
        store.encoded(job.key, objects, [DESTINATION, "pacs"], seconds=1.0)
        store.begin(job.key, Stage.SENT, DESTINATION)
        failure = Failure(code="LF-DEL-002", message=SENTENCE, hint=SENTENCE, transient=job is waits)
        for item, delivered in zip(objects, (True, False), strict=True):
            answer = DeliveryReceipt(
                sop_instance_uid=item.sop_instance_uid,
                destination=DESTINATION,
                dimse_status=0xC000,
                delivered=delivered,
                verified=None,
                detail=SENTENCE,
                answered_at=AT,
            )
            store.add_receipt(job.key, answer)
        store.ship(job.key, DESTINATION, failure, 60.0 if job is waits else None, seconds=1.0)
    store.ship(held.key, "pacs", None, None, seconds=1.0)
    store.begin(runs.key, Stage.CALIBRATED)
    store.set_progress(runs.key, 12, 36)
    return store


@pytest.fixture(params=["a terminal of 80 columns", "a pipe"])
def lines(request, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Shows something at 80 columns, which is also what a pipe gets; its lines."""
    if request.param != "a pipe":
        monkeypatch.setenv("COLUMNS", "80")

    def shown(print_it) -> list[str]:
        print_it()
        found = capsys.readouterr().out.splitlines()
        assert max(cell_len(line) for line in found) <= 80
        assert "\u2026" not in "".join(found)
        return found

    return shown


def test_status(store: Store, lines) -> None:
    text = lines(lambda: show(*views.status_tables(store, process=4711, most=0)))
    for digit, code in (("b", "LF-DEL-002"), ("c", "quarantined"), ("d", "calibrated")):
        assert any(digit * 12 in line and code in line for line in text)


def test_one_job(store: Store, lines) -> None:
    for job in store.jobs():
        text = "".join(lines(lambda job=job: show(*job_view.job_tables(store, job, serving=True))))
        assert job.name in text


def test_what_retention_takes(lines) -> None:
    purge = Purge(key="e" * 64, what=What.RESULTS, reason=SENTENCE, paths=(), n_bytes=123_456_789_012)
    refused = Path("spool") / "quarantine" / f"LF-NET-017-{'f' * 64}.dcm"
    text = lines(lambda: upkeep.print_purges([purge], [refused], dry_run=False))
    assert any("e" * 12 in line and "123.46 GB" in line for line in text)
    assert any("LF-NET-017-" + "f" * 12 in line for line in text)


def test_what_a_correction_leaves_behind(lines) -> None:
    left = Delivered(destination=DESTINATION, series_instance_uid=UID, sop_instance_uid=UID)
    accepted = Accepted(name="a" * 12, firsts=("b" * 12,), objects=(left,))
    text = lines(lambda: upkeep.print_accepted(accepted, as_json=False))
    assert any(line.startswith("a" * 12) and "b" * 12 in line for line in text)


def test_doctor(lines) -> None:
    finding = Finding(
        check=f"destination {DESTINATION}",
        state=State.FAILED,
        message=SENTENCE,
        code="LF-DOC-009",
        hint=SENTENCE,
    )
    text = lines(lambda: print_findings([finding], as_json=False))
    assert any("LF-DOC-009" in line for line in text)


def test_what_doctor_found_and_what_to_do_stand_in_one_column_with_room_for_a_path(lines) -> None:
    path = "/var/lib/lfmri-node/state/node.sqlite"
    finding = Finding(
        check="destination orthanc", state=State.FAILED, message=path, code="LF-DOC-009", hint=SENTENCE
    )
    text = lines(lambda: print_findings([finding], as_json=False))
    assert any(line.rstrip().endswith(path) for line in text)
    assert any(" hint: the archive" in line for line in text)


def test_columns_without_values_are_left_out_and_words_are_not_broken(lines) -> None:
    text = lines(lambda: show(table("title", ("job", "empty", "what"), [("a" * 12, None, SENTENCE)])))
    assert text[0] == "title"
    assert text[1].split() == ["job", "what"]
    assert set(SENTENCE.split()) <= set(" ".join(text).split())


def test_any_table_of_long_words(lines) -> None:
    columns = ("job", "one", "two", "three", "four", "five", "code")
    row = ["a" * 12, *("x" * length for length in (1, 39, 64, 100, 7)), "LF-DEL-002"]
    text = lines(lambda: show(table("t", columns, [row, row], right=("one",))))
    assert sum("".join(text).count(letter) for letter in "x") == 2 * (1 + 39 + 64 + 100 + 7)
