"""What the terminal says of a lesion map: gate, threshold, what was marked, NOT VALIDATED."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from lfmri_node.dicom_io.objects.texts import NOTHING_MARKED
from lfmri_node.dicom_io.types import EncodedObject
from lfmri_node.node import job_view, views
from lfmri_node.node.jobs.job import Stage
from lfmri_node.node.jobs.store import ScanFound, Store
from lfmri_node.node.offline.reconstruct import Outcome
from lfmri_node.node.offline.view import lesion_rows, print_outcomes
from lfmri_node.node.terminal.tables import show
from lfmri_node.node.worker.stages import findings
from lfmri_node.recon.archive import load_reconstruction, save_reconstruction

PARENT = "aa" * 32


@pytest.mark.parametrize("validated", [True, False])
@pytest.mark.parametrize("marked", [True, False])
def test_findings_hold_gate_threshold_and_what_was_marked(reconstruction, marked, validated) -> None:
    found = findings(reconstruction(marked=marked, validated=validated))
    said = "24 voxels marked" if marked else NOTHING_MARKED
    assert found["lesion_map"] == said + ("" if validated else "; NOT VALIDATED")
    assert (found["lesion_gate"], found["lesion_threshold"]) == (0.4, 0.5)
    assert lesion_rows(found) == [
        ("lesion map", found["lesion_map"]),
        ("gate (slice score)", "0.4"),
        ("threshold (activation)", "0.5"),
    ]


def test_a_fallback_has_no_map_to_speak_of(reconstruction) -> None:
    assert lesion_rows(findings(reconstruction(trusted=False))) == []
    assert lesion_rows({"verdict": "TRUSTED"}) == []  # a job of an earlier version


def test_the_gate_survives_the_archive(reconstruction, tmp_path: Path) -> None:
    made = reconstruction()
    save_reconstruction(made, tmp_path)
    restored = load_reconstruction(tmp_path).lesion
    assert (restored.operating_score, restored.threshold, restored.validated) == (0.4, 0.5, False)


def test_status_says_it_of_every_job_with_a_map_and_of_one_job(
    reconstruction, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store(tmp_path / "state" / "node.sqlite")
    scans = [ScanFound(key=f"{c}{c}" * 32, contrast=i, repetition=0) for i, c in enumerate("bcd")]
    part = tmp_path / "spool" / "one.dcm"
    part.parent.mkdir()
    part.touch()
    store.add_measurement(
        key=PARENT,
        source_sha256="dd" * 32,
        calling_ae="GATEWAY",
        received_at=datetime(2026, 1, 2, tzinfo=UTC),
        recipe={},
        parts=[part],
    )
    store.begin(PARENT, Stage.DECODED)
    empty, marked, fallback = store.split(PARENT, scans, seconds=0.1, learned={})
    for job, made in (
        (empty, reconstruction(marked=False)),
        (marked, reconstruction()),
        (fallback, reconstruction(trusted=False)),
    ):
        for stage in (Stage.CALIBRATED, Stage.RECONSTRUCTED):
            store.begin(job.key, stage)
            store.finish(job.key, stage, seconds=0.1, learned=findings(made))
    show(*views.status_tables(store, process=None, most=0))
    table = capsys.readouterr().out.partition("lesion maps")[2]
    said = {line.split()[0]: line for line in table.splitlines() if "NOT VALIDATED" in line}
    assert set(said) == {empty.name, marked.name}
    assert NOTHING_MARKED in said[empty.name]
    assert "24 voxels marked" in said[marked.name]
    show(*job_view.job_tables(store, store.job(empty.key), serving=False))
    one = capsys.readouterr().out
    assert NOTHING_MARKED in one
    assert re.search(r"lesion_gate +0\.4 ", one)
    assert "lesion_threshold" in one


def test_reconstruct_prints_it(reconstruction, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    item = EncodedObject(
        path=tmp_path / "map-0001.dcm",
        sha256="0" * 64,
        role="map",
        sop_class_uid="1.2.840.10008.5.1.4.1.1.30",
        sop_instance_uid="2.25.1",
        series_instance_uid="2.25.2",
    )
    outcome = Outcome(
        contrast=0,
        repetition=0,
        found=findings(reconstruction(marked=False)),
        geometry_known=True,
        identity_known=True,
        objects=(item,),
        pictures=(),
        quality={},
        seconds={},
    )
    print_outcomes([outcome], tmp_path, as_json=False)
    assert NOTHING_MARKED in " ".join(capsys.readouterr().out.split())
