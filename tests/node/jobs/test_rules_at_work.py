"""Scans of one node, each by the rule that fits its header: how it is made, where it goes, what is told."""

from contextlib import closing

from pydicom import dcmread

from lfmri_node.node.demo.pacs import Pacs
from lfmri_node.node.jobs.job import Stage
from lfmri_node.node.jobs.ledger import Ledger

RULES = """
[[pipelines]]
name = "late-echo"
only = {{ protocol = "TES?", echo_time_ms = [15, 25] }}
method = "cg-sense"
fused = false
destinations = ["study"]

[[destinations]]
kind = "dicom"
name = "study"
host = "127.0.0.1"
port = {port}
ae_title = "PACS"
only = {{ echo_time_ms = [15, 1000], calling_ae = "GATE*" }}
"""


def test_each_contrast_goes_its_own_way(node, pacs, make_scan, tmp_path) -> None:
    """Two contrasts of one measurement: 10 ms by [recon] to the PACS, 20 ms by the rule to the study."""
    with Pacs(tmp_path / "study") as study:
        node.config.write_text(node.config.read_text() + RULES.format(port=study.port))
        node.start()
        node.send(make_scan(contrasts=2, n_slices=1))
        early, late = node.wait_finished(2)
        assert [job.stage for job in (early, late)] == [Stage.SENT] * 2
        assert [job.recipe["rule"] for job in (early, late)] == ["", "late-echo"]
        ledger = Ledger(node.layout.job_table)
        objects = {
            job.key: {item.sop_instance_uid for item in ledger.objects(job.key)} for job in (early, late)
        }
        assert {item.sop_instance_uid for item in pacs.instances()} == objects[early.key]
        assert {item.sop_instance_uid for item in study.instances()} == objects[late.key]
        told = {str(dcmread(item.path).get("DerivationDescription", "")) for item in study.instances()}
        assert any("rule late-echo" in words for words in told)
        # What comes again keeps what it was first seen with, also where the rules have gone.
        node.stop()
        node.configure()
        node.start()
        node.send(tmp_path / "scan.h5")
        jobs = node.wait_finished(2)
        assert [job.recipe["rule"] for job in jobs] == ["", "late-echo"]
        assert {item.stores for item in (*pacs.instances(), *study.instances())} == {1}


WANTED = """
[[pipelines]]
name = "few"
only = {}
outputs = ["fallback", "corrected", "summary"]
"""


def test_a_rule_names_the_series_that_are_made(node, pacs, make_scan) -> None:
    node.config.write_text(node.config.read_text() + WANTED)
    node.start()
    node.send(make_scan(n_slices=1))
    (job,) = node.wait_finished()
    with closing(Ledger(node.layout.job_table)) as ledger:
        objects = ledger.objects(job.key)
    assert [item.role for item in objects] == ["fallback", "corrected", "summary"]
    assert {item.sop_instance_uid for item in pacs.instances()} == {item.sop_instance_uid for item in objects}
