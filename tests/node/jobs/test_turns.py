"""Whose turn it is: a scan that somebody waits for goes before what can wait."""

from contextlib import closing

from dbos import DBOSClient

from lfmri_node.node.gateway.send import send_file
from lfmri_node.node.jobs.job import Stage
from lfmri_node.node.jobs.ledger import Ledger
from lfmri_node.node.jobs.store import Store


def test_a_scan_that_a_scanner_waits_for_goes_first(node, make_scan) -> None:
    """Three come while the worker is busy, the urgent one last."""
    text = node.config.read_text()
    text = text.replace("allow = [", 'allow = [{ae_title = "ARCHIVE", address = "127.0.0.1"}, ')
    node.config.write_text(text + "[gateways.ARCHIVE]\npriority = 5\n")
    hold = node.hold("calibrate.before")
    node.start()
    node.send(make_scan("first.h5", n_slices=1))
    hold.wait()
    for name, calling_ae in (("old.h5", "ARCHIVE"), ("older.h5", "ARCHIVE"), ("urgent.h5", "GATEWAY")):
        scan = make_scan(name, seed=len(name), n_slices=1)
        given = {"PatientID": "4711"}
        send_file(scan, node.address, calling_ae=calling_ae, given=given, show=lambda *_: None)
    hold.remove_and_release()
    jobs = node.wait_finished(4)
    ledger = Ledger(node.layout.job_table)
    begun = {job.key: next(t.begun_at for t in ledger.timings(job.key)) for job in jobs}
    order = sorted(jobs, key=lambda job: begun[job.key])
    assert [(job.calling_ae, job.priority) for job in order] == [
        ("GATEWAY", 0),
        ("GATEWAY", 0),
        ("ARCHIVE", 5),
        ("ARCHIVE", 5),
    ]
    assert {job.stage for job in jobs} == {Stage.SENT}


def test_what_need_not_wait_for_its_turn_is_not_queued(node, make_scan) -> None:
    """A queue is looked at only now and then; the second one comes while the worker is busy."""
    hold = node.hold("calibrate.before")
    node.start()
    node.send(make_scan("first.h5", n_slices=1))
    hold.wait()
    node.send(make_scan("second.h5", seed=2, n_slices=1))
    hold.remove_and_release()
    first, second = sorted(node.wait_finished(2), key=lambda job: job.received_at)
    node.stop()
    client = DBOSClient(system_database_url=f"sqlite:///{node.layout.workflows}")
    queues = {flow.workflow_id: flow.queue_name for flow in client.list_workflows()}
    client.destroy()
    own = [f"admit:{first.parent}", f"compute:{first.key}", f"deliver:{first.key}:pacs"]
    assert [queues[name] for name in own] == [None, None, None]
    assert queues[f"admit:{second.parent}"] == "compute"


def test_whether_others_wait(node, add_measurement) -> None:
    key, other = "aa" * 32, "bb" * 32
    add_measurement(node.folder, key)
    ledger = Ledger(node.layout.job_table)
    assert not ledger.others_wait(key)
    add_measurement(node.folder, other)
    assert ledger.others_wait(key)
    assert ledger.others_wait(other)
    with closing(Store(node.layout.job_table)) as store:
        store.begin(other, Stage.DECODED)
    assert ledger.others_wait(key), "the scans of a measurement that is being read wait next"
