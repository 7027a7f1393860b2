"""People are told once, truly, whatever the way to them does meanwhile; and no patient is named."""

import hashlib
import hmac
import json
import queue
import ssl
import urllib.request
from pathlib import Path

import pytest
import trustme
from mrd_client import stream
from open_doors import MRD, port_of
from servers import Hook, Mailbox, serving

from lfmri_node.dicom_io.deliver.association import DicomDestination
from lfmri_node.dicom_io.deliver.cstore import send_objects
from lfmri_node.dicom_io.raw_data.wrap import wrap
from lfmri_node.node.config import from_document
from lfmri_node.node.errors import ConfigError
from lfmri_node.node.gateway.send import wrapping_of
from lfmri_node.node.notify.news import News, Trouble
from lfmri_node.node.notify.watch import Told
from lfmri_node.recon.mrd.file import sha256_of
from lfmri_node.recon.types import ScanIdentity

PATIENT = {"PatientID": "SENTINEL-4711", "PatientName": "Zzyzx^Sentinella"}
NAMES = ("SENTINEL", "Zzyzx", "GATEWAY")
QUICK = "at_most_every_s = 0.1\n"


@pytest.fixture
def hook():
    server = Hook()
    with serving(server):
        yield server


def kinds(document: dict, what: str = "new") -> set[tuple[str, str]]:
    return {(item["subject"], item["code"]) for item in document[what]}


def by_hook(node, hook: Hook) -> None:
    secret = node.folder / "secret"
    secret.write_text("quite secret\n")
    node.configure(
        f'[[notify]]\nkind = "webhook"\nname = "hook"\nurl = "{hook.url}"\nsecret_file = "secret"\n{QUICK}'
        'subjects = ["quarantine", "incomplete", "destination", "worker"]\ndestination_down_s = 0.2\n'
    )


def by_mail(port: int, to: str) -> str:
    server = f'kind = "mail"\nname = "mail"\nhost = "127.0.0.1"\nport = {port}\nuser = "node"\n'
    return f'[[notify]]\n{server}password_file = "password"\nsender = "node@example.org"\nto = {to}\n{QUICK}'


def test_a_job_in_quarantine_is_told_once_signed_and_without_a_name(node, hook, make_scan) -> None:
    scan = make_scan()
    by_hook(node, hook)
    node.holds.mkdir()
    (node.holds / "reconstruct.dies").write_text(sha256_of(scan))
    node.start()
    node.send(scan)
    told: set[tuple[str, str]] = set()
    while ("quarantine", "LF-JOB-015") not in told:
        headers, body = hook.got.get(timeout=120)
        signed = headers["X-Lfmri-Timestamp"].encode() + b"." + body
        expected = hmac.new(b"quite secret", signed, hashlib.sha256).hexdigest()
        assert headers["X-Lfmri-Signature"] == f"sha256={expected}"
        assert [name for name in NAMES if name.encode() in body] == []
        told |= kinds(json.loads(body))
    assert ("worker", "LF-JOB-011") in told
    (job,) = [job for job in node.jobs() if job.stage == "quarantined"]
    assert job.name in json.loads(body)["text"]
    node.stop()
    (node.holds / "reconstruct.dies").unlink()
    node.start()  # what was told is not told again after a restart; what is new is
    node.send(make_scan("second.h5", seed=1))
    node.wait_for(lambda jobs: any(job.finished_at for job in jobs))
    node.stop()
    assert hook.got.empty()


def test_a_server_that_refuses_is_asked_again_and_nothing_waits_for_it(node, pacs, hook, make_scan) -> None:
    hook.statuses = [500, 302]
    by_hook(node, hook)
    text = node.config.read_text()
    node.config.write_text(text.replace(f"port = {pacs.port}", "port = 1"))
    node.start()
    node.send(make_scan())
    assert hook.refused.get(timeout=60) == 500
    node.wait_for(lambda jobs: any(job.failure and job.failure.code == "LF-DEL-001" for job in jobs))
    assert hook.refused.get(timeout=60) == 302  # not followed to where it points
    document = json.loads(hook.got.get(timeout=120)[1])
    assert kinds(document) == {("destination", "LF-DEL-001")}
    assert document["new"][0]["name"] == "pacs"
    node.stop()
    assert any(" notify.failed " in line and "code=LF-OPS-004" in line for line in node.lines)
    node.config.write_text(text)
    node.start()
    over = json.loads(hook.got.get(timeout=60)[1])
    assert kinds(over, "over") == {("destination", "LF-DEL-001")}


def test_missing_parts_are_told_by_mail_over_tls(node, make_scan, tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    mailbox = Mailbox(context, "node", "mail secret")
    (node.folder / "password").write_text("mail secret")
    node.configure(
        by_mail(mailbox.port, '["a@example.org", "b@example.org"]')
        + f'ca_file = "{tmp_path}/ca.pem"\nsubjects = ["incomplete"]\n'
    )
    text = node.config.read_text()
    node.config.write_text(text.replace("port = 0", "port = 0\nincomplete_after_s = 0.1"))
    scan = make_scan()
    half = scan.stat().st_size // 2 + 1
    parts = wrap(scan, tmp_path, wrapping_of(scan, PATIENT, None).attributes, max_part_bytes=half)
    with serving(mailbox):
        node.start()
        peer = DicomDestination(
            name="node", host="127.0.0.1", port=node.port, ae_title="LFMRI", calling_ae_title="GATEWAY"
        )
        assert all(receipt.delivered for receipt in send_objects(peer, parts[:1]))
        to, message = mailbox.got.get(timeout=60)
    assert to == ["a@example.org", "b@example.org"]
    body = message.get_payload()
    assert "LF-NET-022" in body
    assert [name for name in NAMES if name in message.as_string()] == []


def test_a_scan_of_nobody_is_told_and_waits_for_no_alarm_of_time(node, hook, make_scan) -> None:
    node.configure(
        f'[[notify]]\nkind = "webhook"\nname = "hook"\nurl = "{hook.url}"\nsubjects = ["held"]\n{QUICK}'
        f"[monitor]\nport = 0\n{MRD}"
    )
    node.start()
    (line,) = [line for line in node.lines if " monitor.ready " in line]
    port = int(line.split("port=")[1].split()[0])
    stream(port_of(node), make_scan(n_slices=1, identity=ScanIdentity()))
    headers, body = hook.got.get(timeout=120)
    assert "X-Lfmri-Signature" not in headers  # no secret was given
    assert kinds(json.loads(body)) == {("held", "LF-JOB-047")}
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        text = answer.read().decode()
    assert "lfmri_held_jobs 1.0" in text
    assert "lfmri_oldest_waiting_seconds{" not in text


def test_a_mail_server_with_a_strange_certificate_gets_no_password(node, make_scan, tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    mailbox = Mailbox(context, "node", "mail secret")
    (node.folder / "password").write_text("mail secret")
    node.configure(by_mail(mailbox.port, '["a@example.org"]') + "destination_down_s = 0.1\n")
    text = node.config.read_text()
    node.config.write_text(text.replace(f"port = {node.pacs.port}", "port = 1"))
    with serving(mailbox):
        node.start()
        node.send(make_scan())
        node.wait_line(" notify.failed ")
    assert "SSLCertVerificationError" in node.lines[-1]
    with pytest.raises(queue.Empty):
        mailbox.got.get_nowait()


A, B = (Trouble(subject="quarantine", name=name, code="LF-JOB-010") for name in "ab")
DOWN = Trouble(subject="destination", name="pacs", code="LF-DEL-001")


def test_only_what_changed_is_news_and_ends_are_told_where_they_matter() -> None:
    news = News.between(frozenset({A, DOWN}), frozenset({A, B}))
    assert (news.new, news.over) == ((B,), (DOWN,))
    assert not News.between(frozenset({A, B}), frozenset({A}))  # somebody retried it, and knows


def test_a_storm_is_one_message_of_bounded_length() -> None:
    many = frozenset(Trouble(subject="quarantine", name=f"{n:03}", code="LF-JOB-010") for n in range(200))
    news = News.between(frozenset(), many)
    assert len(list(news.lines())) == 51
    assert "and 150 more" in list(news.lines())[-1]


def test_what_was_told_survives_and_a_damaged_note_tells_twice(tmp_path: Path) -> None:
    told = Told(path=tmp_path / "told.json")
    assert told.read() == frozenset()
    told.write(frozenset({A, DOWN}))
    assert told.read() == {A, DOWN}
    told.path.write_text("[{")
    assert told.read() == frozenset()


@pytest.mark.parametrize(
    ("wrong", "path"),
    [
        ({"user": "u", "password_env": "P", "starttls": False}, "starttls"),
        ({"user": "u"}, "belong together"),
        ({"to": []}, "notify[0].to"),
        ({"sender": "nobody"}, "notify[0].sender"),
    ],
)
def test_a_way_that_would_leak_or_lead_nowhere_is_refused(tmp_path: Path, wrong: dict, path: str) -> None:
    mail = {"kind": "mail", "name": "m", "host": "h", "sender": "n@h", "to": ["a@h"], **wrong}
    with pytest.raises(ConfigError) as caught:
        from_document({"notify": [mail]}, base=tmp_path, name="test")
    assert path in caught.value.message
