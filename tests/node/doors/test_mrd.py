"""Scans that are streamed to a running node, by a sender of our own and by the serializer of ``ismrmrd``."""

from __future__ import annotations

import json
import re
import socket
import struct
from contextlib import closing
from itertools import islice
from pathlib import Path

import ismrmrd
import numpy as np
import pytest
from mrd_client import Sender, messages, stream
from open_doors import IDENTITY, MRD, port_of
from pydicom import dcmread
from pydicom.uid import MRImageStorage

from lfmri_node.dicom_io.raw_data.payload import open_payload
from lfmri_node.dicom_io.raw_data.received import recall_measurement
from lfmri_node.node.cli.main import run
from lfmri_node.node.doors.streams import kept_streams
from lfmri_node.node.jobs.ledger import Ledger
from lfmri_node.recon.mrd.file import open_mrd
from lfmri_node.recon.types import ScanIdentity


@pytest.fixture
def streaming(node):
    """A running node that takes streams from this machine."""
    node.configure(MRD)
    return node.start()


def test_a_streamed_scan_becomes_a_measurement_as_if_it_had_come_as_raw_data(
    streaming, make_scan, pacs
) -> None:
    scan = make_scan(identity=IDENTITY)
    said, images = stream(port_of(streaming), scan)
    assert said["held"] is False
    assert images == []
    (job,) = streaming.wait_finished()
    assert job.parent.startswith(said["job"])
    assert job.calling_ae == "SCANNER"
    with closing(Ledger(streaming.layout.job_table)) as ledger:
        received = recall_measurement(ledger.sources(job.key))
    with open_mrd(scan, None) as sent, open_payload(received.parts) as window, open_mrd(window, None) as kept:
        assert sent.xml == kept.xml
        assert (sent.heads == kept.heads).all()
        assert (sent.samples(range(8)) == kept.samples(range(8))).all()
    objects = [dcmread(item.path) for item in pacs.instances()]
    assert {(item.PatientID, item.StudyInstanceUID) for item in objects} == {("SENTINEL-4711", "2.25.4711")}
    assert list((streaming.layout.spool / "streams").iterdir()) == []


def test_the_same_scan_streamed_again_is_the_same_job(streaming, make_scan) -> None:
    scan = make_scan(identity=IDENTITY)
    first, _ = stream(port_of(streaming), scan)
    streaming.wait_finished()
    second, _ = stream(port_of(streaming), scan)
    assert second == first
    assert len(streaming.jobs()) == 1


def test_the_job_that_a_sender_was_told_leads_to_its_scans(streaming, make_scan, capsys) -> None:
    said, _ = stream(port_of(streaming), make_scan(identity=IDENTITY))
    (job,) = streaming.wait_finished()
    assert run(["status", said["job"], "--config", str(streaming.config)]) == 0
    shown = capsys.readouterr().out
    assert re.search(rf"{job.name} +{job.stage.value} +done", shown), shown
    assert run(["status", said["job"], "--json", "--config", str(streaming.config)]) == 0
    assert json.loads(capsys.readouterr().out)["scans"] == [job.key]


def test_the_serializer_of_ismrmrd_is_understood_and_understands_the_answer(streaming, make_scan) -> None:
    with (
        ismrmrd.File(make_scan(identity=IDENTITY), "r") as file,
        socket.create_connection(("127.0.0.1", port_of(streaming))) as connection,
        connection.makefile("wb") as out,
        connection.makefile("rb") as back,
    ):
        serializer = ismrmrd.ProtocolSerializer(out)
        serializer.serialize(ismrmrd.ConfigFile("default.xml"))
        serializer.serialize(file["dataset"].header)
        for acquisition in file["dataset"].acquisitions:
            serializer.serialize(acquisition)
        serializer.serialize(ismrmrd.Waveform.from_array(_pulse()))
        serializer.close()
        (text,) = ismrmrd.ProtocolDeserializer(back).deserialize()
    (job,) = streaming.wait_finished()
    assert job.parent.startswith(json.loads(text)["job"])


def _pulse():
    return np.arange(10, dtype=np.uint32).reshape(2, 5)


def test_a_cut_stream_is_reported_and_never_acknowledged(streaming, make_scan) -> None:
    with Sender(port_of(streaming)) as sender:
        sender.say(*islice(messages(make_scan(identity=IDENTITY)), 20))
        sender.leave()
        said, _ = sender.answer()
    assert said["error"]["code"] == "LF-DOR-001"
    (note,) = kept_streams(streaming.layout.spool)
    assert (note.n_acquisitions, note.ae_title) == (18, "SCANNER")
    assert streaming.jobs() == []


@pytest.mark.parametrize("place", ["received.before", "received.after"])
def test_a_node_killed_before_it_answered_has_the_scan_once(node, make_scan, place) -> None:
    node.configure(MRD)
    hold = node.hold(place)
    node.start()
    scan = make_scan(identity=IDENTITY)
    with Sender(port_of(node)) as sender:
        sender.say(*messages(scan))
        hold.wait()
        node.kill()
    hold.remove()
    node.start()
    (job,) = node.wait_finished()
    said, _ = stream(port_of(node), scan)
    assert job.parent.startswith(said["job"])
    assert len(node.jobs()) == 1


def test_what_is_no_measurement_is_told_and_put_aside(streaming, make_scan) -> None:
    parts = list(messages(make_scan(identity=IDENTITY)))
    damaged = parts[1].replace(b"<ismrmrdHeader", b"<ismrmrdXeader", 1)
    with Sender(port_of(streaming)) as sender:
        sender.say(parts[0], damaged, *parts[2:])
        said, _ = sender.answer()
    (note,) = kept_streams(streaming.layout.spool)
    assert said["error"]["code"] == note.code
    assert note.code.startswith("LF-RAW-")
    assert streaming.jobs() == []


def test_nobody_streams_from_an_address_that_is_not_listed(node) -> None:
    node.configure(MRD.replace("127.0.0.1", "192.0.2.1"))
    node.start()
    with socket.create_connection(("127.0.0.1", port_of(node))) as connection:
        assert connection.recv(1) == b""


def test_without_an_entry_the_port_stays_shut(node) -> None:
    node.start()
    assert not any(" mrd.ready " in line for line in node.lines)


def test_one_connection_too_many_is_told_so_and_the_others_go_on(streaming, make_scan) -> None:
    parts = list(messages(make_scan(identity=IDENTITY)))
    port = port_of(streaming)
    with Sender(port) as first, Sender(port) as second, Sender(port) as third:
        for sender in (first, second, third):
            sender.say(*parts[:3])
        with Sender(port) as fourth:
            said, _ = fourth.answer()
        assert said["error"]["code"] == "LF-DOR-011"
        first.say(*parts[3:])
        said, _ = first.answer()
        assert said["job"]


def test_a_silent_sender_is_cut_off(node, make_scan) -> None:
    node.configure(MRD.replace("network_timeout_s = 20", "network_timeout_s = 0.3"))
    node.start()
    with Sender(port_of(node)) as sender:
        sender.say(*islice(messages(make_scan(identity=IDENTITY)), 10))
        said, _ = sender.answer()
    assert said["error"]["code"] == "LF-DOR-001"
    assert len(kept_streams(node.layout.spool)) == 1


def test_who_sends_no_header_in_time_gives_the_place_back(node) -> None:
    node.configure(MRD.replace("request_timeout_s = 20", "request_timeout_s = 0.3"))
    node.start()
    with Sender(port_of(node)) as sender:
        said, _ = sender.answer()
    assert said["error"]["code"] == "LF-DOR-001"
    assert kept_streams(node.layout.spool) == []


def test_sigterm_lets_a_stream_end_and_cuts_off_one_that_does_not(node, make_scan) -> None:
    node.configure(MRD)
    node.config.write_text(node.config.read_text().replace("drain_s = 20", "drain_s = 2"))
    node.start()
    with Sender(port_of(node)) as sender:
        sender.say(*islice(messages(make_scan(identity=IDENTITY)), 10))
        assert node.stop() == 0
    assert Path(node.layout.spool / "streams").exists()
    node.start()
    assert [note.code for note in kept_streams(node.layout.spool)] == ["LF-DOR-001"]


@pytest.mark.parametrize("identity", [IDENTITY, ScanIdentity()], ids=["delivered", "held"])
def test_images_come_back_on_the_same_connection_when_the_sender_asks(
    streaming, make_scan, pacs, identity
) -> None:
    said, images = stream(port_of(streaming), make_scan(identity=identity), "lfmri-images.xml")
    assert said["job"]
    assert [image.matrix for image in images] == [(64, 64, 1)] * 3
    assert max(image.array.max() for image in images) == 4095
    assert all("RESEARCH" in image.attributes for image in images)
    positions = [struct.unpack_from("<3f", image.head, 36) for image in images]
    assert [round(z, 3) for _, _, z in positions] == [0.0, 6.0, 12.0]
    if identity is IDENTITY:
        streaming.wait_finished()
        delivered = [dcmread(item.path) for item in pacs.instances()]
        planes = {
            round(float(item.ImagePositionPatient[2]), 3): item.pixel_array
            for item in delivered
            if item.SOPClassUID == MRImageStorage
        }
        for image, (_, _, z) in zip(images, positions, strict=True):
            assert np.corrcoef(image.array.ravel(), planes[round(z, 3)].ravel())[0, 1] > 0.999
