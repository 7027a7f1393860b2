"""The configuration is read again while a node runs: what changes, what does not, and nothing is dropped."""

import json
import signal
import subprocess
import sys
from contextlib import closing

import pytest
from pynetdicom import AE
from pynetdicom.sop_class import Verification

from lfmri_node.dicom_io.deliver.association import DicomDestination, echo
from lfmri_node.node.config import from_document
from lfmri_node.node.demo.pacs import Pacs
from lfmri_node.node.errors import JobError
from lfmri_node.node.jobs.ledger import Ledger
from lfmri_node.node.reload import ask, merged


def change(node, *pairs: tuple[str, str]) -> None:
    """Edit the file of a node."""
    text = node.config.read_text()
    for old, new in pairs:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    node.config.write_text(text)


def let_in(node, title: str) -> bool:
    """Whether the node lets a caller in."""
    peer = DicomDestination(
        name="node", host="127.0.0.1", port=node.port, ae_title="LFMRI", calling_ae_title=title
    )
    return echo(peer).answered


SECOND = ('address = "127.0.0.1"}]', 'address = "127.0.0.1"}, {ae_title = "SECOND", address = "127.0.0.1"}]')


def test_another_caller_is_let_in_and_an_open_association_goes_on(node) -> None:
    node.start()
    entity = AE("GATEWAY")
    entity.add_requested_context(Verification)
    association = entity.associate("127.0.0.1", node.port, ae_title="LFMRI")
    assert association.is_established
    assert not let_in(node, "SECOND")
    change(node, SECOND)
    found = ask(node.layout)
    assert (found.applied, found.needs_restart) == (("listener.allow",), ())
    assert let_in(node, "SECOND")
    assert association.send_c_echo().Status == 0
    association.release()
    change(node, SECOND[::-1])
    ask(node.layout)
    assert not let_in(node, "SECOND")


def test_a_destination_that_is_corrected_gets_what_waits_for_it(node, pacs, make_scan) -> None:
    change(node, (f"port = {pacs.port}", "port = 1"))
    node.start()
    node.send(make_scan())
    node.wait_for(lambda jobs: any(job.failure and job.failure.code == "LF-DEL-001" for job in jobs))
    change(node, ("port = 1\n", f"port = {pacs.port}\n"))
    assert ask(node.layout).applied == ("destinations",)
    node.wait_finished()
    assert [item.stores for item in pacs.instances()] == [1, 1, 1]


def test_a_destination_that_is_added_gets_what_is_not_finished(node, pacs, make_scan, tmp_path) -> None:
    held = node.hold("encode.before")
    node.start()
    node.send(make_scan())
    held.wait()
    with Pacs(tmp_path / "second") as second:
        more = (
            f'[[destinations]]\nkind = "dicom"\nname = "second"\nhost = "127.0.0.1"\nport = {second.port}\n'
        )
        change(node, ("[retry]", more + 'ae_title = "PACS"\n[retry]'))
        assert ask(node.layout).applied == ("destinations",)
        held.remove_and_release()
        (job,) = node.wait_finished()
        with closing(Ledger(node.layout.job_table)) as ledger:
            assert {item.destination for item in ledger.shipments(job.key)} == {"pacs", "second"}
        assert [item.stores for item in second.instances()] == [1, 1, 1]
    assert [item.stores for item in pacs.instances()] == [1, 1, 1]


def test_a_destination_that_is_added_gets_what_waits_for_another(node, pacs, make_scan, tmp_path) -> None:
    change(node, (f"port = {pacs.port}", "port = 1"))
    node.start()
    node.send(make_scan(n_slices=1))
    node.wait_for(lambda jobs: any(job.failure and job.failure.code == "LF-DEL-001" for job in jobs))
    with Pacs(tmp_path / "second") as second:
        one = (
            f'[[destinations]]\nkind = "dicom"\nhost = "127.0.0.1"\nport = {second.port}\nae_title = "PACS"\n'
        )
        more = f'{one}name = "second"\n{one}name = "third"\nonly = {{ protocol = "*" }}\n'
        change(node, ("[retry]", f"{more}[retry]"))
        assert ask(node.layout).applied == ("destinations",)
        (job,) = node.wait_for(lambda _jobs: len(second.instances()) == 1)
        with closing(Ledger(node.layout.job_table)) as ledger:
            named = {item.destination for item in ledger.shipments(job.key)}
        assert named == {"pacs", "second"}, "what the third one asks about is not known any more"


NO_PASSWORD = "kind = 'orthanc'\nname = 'o'\nurl = 'http://127.0.0.1:1'\npassword_file = 'absent'\n"
NO_SECRET = "kind = 'webhook'\nname = 'h'\nurl = 'http://127.0.0.1:1'\nsecret_file = 'absent'\n"
WRONG = (
    (("[retry]", "[retry"), "LF-CFG-002"),
    (("[retry]", "[retry]\nunknown = 1"), "LF-CFG-003"),
    (("base_s = 0.3", "base_s = -1"), "LF-CFG-004"),
    (("[retry]", f"[[destinations]]\n{NO_PASSWORD}[retry]"), "LF-CFG-005"),
    (("[retry]", f"[[notify]]\n{NO_SECRET}[retry]"), "LF-CFG-005"),
    (('method = "zero-filled"', 'method = "lf-mri"\nweights = "absent.safetensors"'), "LF-MOD-001"),
)


def test_a_file_that_is_wrong_changes_nothing(node, pacs, make_scan) -> None:
    node.start()
    good = node.config.read_text()
    for wrong, code in WRONG:
        change(node, SECOND, wrong)
        with pytest.raises(JobError) as caught:
            ask(node.layout)
        assert caught.value.code == code
        assert not let_in(node, "SECOND")
        node.config.write_text(good)
    assert let_in(node, "GATEWAY")
    node.send(make_scan())
    node.wait_finished()
    assert len(pacs.instances()) == 3
    assert node.stop() == 0
    refused = [line.partition("code=")[2].split()[0] for line in node.lines if " config.refused " in line]
    assert refused == [code for _, code in WRONG]


def test_a_service_that_cannot_answer_obeys_all_the_same(node) -> None:
    node.start()
    (node.layout.state / "reload.json").mkdir()
    change(node, SECOND)
    node.process.send_signal(signal.SIGHUP)
    node.wait_line(" config.reloaded what=listener.allow")
    assert let_in(node, "SECOND")
    assert node.stop() == 0


def test_what_waits_for_a_restart_is_named_and_stays(node) -> None:
    node.start()
    change(node, ("port = 0\n", "port = 1\n"), ("drain_s = 20", "drain_s = 21"))
    found = ask(node.layout)
    assert (found.applied, set(found.needs_restart)) == ((), {"listener.port", "node.drain_s"})
    assert let_in(node, "GATEWAY")
    assert set(ask(node.layout).needs_restart) == {"listener.port", "node.drain_s"}  # as long as it differs


def test_a_scan_under_way_keeps_its_settings_and_the_next_has_the_new(node, pacs, make_scan) -> None:
    held = node.hold("reconstruct.before")
    node.start()
    node.send(make_scan())
    held.wait()
    change(
        node,
        ('method = "zero-filled"', 'method = "cg-sense"'),
        ("[retry]", "[logging]\nlevel='error'\n[retry]"),
    )
    assert set(ask(node.layout).applied) == {"recon.method", "logging.level"}
    held.remove_and_release()
    node.wait_finished()
    node.send(make_scan("second.h5", seed=1))
    jobs = node.wait_finished(2)
    assert [job.recipe["recon"]["method"] for job in jobs] == ["zero-filled", "cg-sense"]
    node.stop()
    assert not any(" service.draining" in line for line in node.lines)  # info is not told any more


def test_the_command_says_what_came_of_it(node) -> None:
    command = [sys.executable, "-m", "lfmri_node.node.cli", "reload", "--json", "--config", str(node.config)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, json.loads(done.stdout)["error"]["code"]) == (1, "LF-OPS-002")
    node.start()
    change(node, SECOND)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"applied": ["listener.allow"], "needs_restart": [], "error": None}
    change(node, ("[retry]", "[retry"))
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, json.loads(done.stdout)["error"]["code"]) == (1, "LF-CFG-002")


def test_only_what_is_live_is_merged(tmp_path) -> None:
    def config(**tables):
        return from_document({"node": {"data_dir": "d"}, **tables}, base=tmp_path, name="test")

    old = config(listener={"port": 1}, recon={"method": "cg-sense", "threads": 1})
    new = config(
        listener={"port": 2}, recon={"method": "zero-filled", "threads": 2}, retention={"raw_days": 1}
    )
    present, found = merged(old, new)
    assert (present.listener.port, present.recon.threads) == (1, 1)
    assert (present.recon.method, present.retention.raw_days) == ("zero-filled", 1)
    assert set(found.applied) == {"recon.method", "retention.raw_days"}
    assert set(found.needs_restart) == {"listener.port", "recon.threads"}
