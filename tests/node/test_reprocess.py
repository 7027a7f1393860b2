"""Raw data on record once more: series of their own, nothing overwritten, and asking twice is asking once."""

import json
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pydicom
import pytest
from mrd_client import stream
from open_doors import MRD, port_of
from safetensors.numpy import load_file, save_file

from lfmri_node.node.assignments import assign
from lfmri_node.node.config import load
from lfmri_node.node.errors import JobError
from lfmri_node.node.jobs.ledger import Ledger
from lfmri_node.node.reprocess import Wanted, reprocess
from lfmri_node.recon.method.modelcard import read_card, shipped_weights
from lfmri_node.recon.mrd.file import sha256_of
from lfmri_node.recon.phantom.demo_scan import write_demo_scan
from lfmri_node.recon.types import ScanIdentity

WHO = {"PatientID": "SENTINEL-4711", "StudyInstanceUID": "2.25.4711"}


def command(node, *arguments: str) -> dict:
    """As an operator asks."""
    words = [sys.executable, "-m", "lfmri_node.node.cli", "reprocess", "--json", "--config", str(node.config)]
    done = subprocess.run([*words, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def frames_of_reference(node) -> set[str]:
    """Of every image that the node made."""
    with closing(Ledger(node.layout.job_table)) as ledger:
        paths = [item.path for job in ledger.jobs() for item in ledger.objects(job.key)]
    images = [pydicom.dcmread(path, stop_before_pixels=True) for path in paths]
    return {image.FrameOfReferenceUID for image in images if image.Modality != "SR"}


def test_another_method_makes_series_of_its_own_while_the_node_runs(node, pacs, make_scan) -> None:
    node.start()
    node.send(make_scan())
    (first,) = node.wait_finished()
    before = {item.sop_instance_uid: item.dataset_sha256 for item in pacs.instances()}
    asked = ("--job", first.name, "--method", "cg-sense")
    (planned,) = command(node, *asked, "--dry-run")["measurements"]
    assert node.jobs() == [first]
    (made,) = command(node, *asked)["measurements"]
    assert made == planned
    jobs = node.wait_finished(2)
    assert [job.recipe["recon"]["method"] for job in jobs] == ["zero-filled", "cg-sense"]
    assert [job.priority for job in jobs] == [0, 1]  # scanners first
    after = {item.sop_instance_uid: item for item in pacs.instances()}
    assert len(after) == 6
    for uid, sha256 in before.items():
        assert (after[uid].dataset_sha256, after[uid].stores, after[uid].conflicts) == (sha256, 1, 0)
    assert len({item.series_instance_uid for item in after.values()}) == 2
    assert len(frames_of_reference(node)) == 1, "viewers link the runs of one measurement"
    (again,) = command(node, *asked)["measurements"]
    assert again["why_not"]
    assert len(node.jobs()) == 2


def site_weights(folder: Path) -> Path:
    """Weights of a site's own: the shipped ones with another bias, and a card that says so."""
    shipped = shipped_weights()
    tensors = load_file(shipped)
    name = next(key for key, value in tensors.items() if value.ndim == 1)
    tensors[name] = tensors[name] + np.float32(1e-4)
    path = folder / "site.safetensors"
    save_file(tensors, path)
    card = json.loads(shipped.with_suffix(".json").read_text())
    path.with_suffix(".json").write_text(json.dumps(card | {"name": "site-7", "sha256": sha256_of(path)}))
    return path


def test_the_series_of_other_weights_say_so(node, pacs, tmp_path: Path) -> None:
    scan = tmp_path / "demo.h5"
    write_demo_scan(scan, n_slices=2)
    text = node.config.read_text()
    node.config.write_text(text.replace('method = "zero-filled"', 'method = "lf-mri"'))
    node.start(light=False)
    node.send(scan)
    (first,) = node.wait_finished()
    node.stop()
    path = site_weights(tmp_path)
    assert read_card(path).name == "site-7"
    command(node, "--since", "2026-01-01", "--weights", str(path))  # a stopped node does it at its start
    node.start(light=False)
    jobs = node.wait_finished(2)
    with closing(Ledger(node.layout.job_table)) as ledger:
        objects = [ledger.objects(job.key) for job in jobs]
    said = [
        {str(pydicom.dcmread(item.path, stop_before_pixels=True).SeriesDescription) for item in items}
        for items in objects
    ]
    uids = [{item.sop_instance_uid for item in items} for items in objects]
    assert jobs[0].key == first.key
    assert all("site-7" in text for text in said[1])
    assert not any("site-7" in text for text in said[0])
    assert not uids[0] & uids[1]
    assert len(frames_of_reference(node)) == 1
    assert {item.stores for item in pacs.instances()} == {1}


def test_an_assigned_identity_goes_with_the_scan(node, pacs, make_scan) -> None:
    node.configure(MRD)
    node.start()
    stream(port_of(node), make_scan(n_slices=1, identity=ScanIdentity()))
    node.wait_line(" job.held ")
    (job,) = node.jobs()
    (again,) = reprocess(load(node.config), Wanted(job=job.name, method="cg-sense"), dry_run=False)
    assert "nobody" in again.why_not
    assign(load(node.config), job.name, WHO)
    node.wait_finished()
    command(node, "--study", WHO["StudyInstanceUID"], "--method", "cg-sense")
    node.wait_finished(2)
    objects = [pydicom.dcmread(item.path) for item in pacs.instances()]
    assert {(str(o.PatientID), o.StudyInstanceUID) for o in objects} == {tuple(WHO.values())}
    assert len({o.SeriesInstanceUID for o in objects}) == 2


def test_criteria_choose(node, make_scan) -> None:
    node.start()
    node.send(make_scan(), StudyInstanceUID="1.2.3.4")
    node.send(make_scan("second.h5", seed=1), StudyInstanceUID="1.2.3.5")
    node.wait_finished(2)
    config = load(node.config)

    def chosen(**criteria: object) -> int:
        return len(reprocess(config, Wanted(method="cg-sense", **criteria), dry_run=True))

    tomorrow = (datetime.now(UTC) + timedelta(days=2)).date()
    assert chosen(study="1.2.3.4") == 1
    assert chosen(since=tomorrow - timedelta(days=9)) == 2
    assert chosen(study="1.2.3.5", since=tomorrow - timedelta(days=9)) == 1
    for criteria in ({"study": "1.2.3.6"}, {"since": tomorrow}):
        with pytest.raises(JobError) as caught:
            chosen(**criteria)
        assert caught.value.code == "LF-OPS-006"


def test_raw_data_that_are_gone_are_named(node, make_scan) -> None:
    node.start()
    node.send(make_scan())
    (job,) = node.wait_finished()
    with closing(Ledger(node.layout.job_table)) as ledger:
        for path in ledger.sources(job.key):
            path.unlink()
            path.with_suffix(".json").unlink()
    (found,) = reprocess(load(node.config), Wanted(job=job.name, method="cg-sense"), dry_run=False)
    assert "raw data" in found.why_not
    assert len(node.jobs()) == 1
