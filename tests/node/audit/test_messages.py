"""Every message is one of the schema (PS3.15 A.5.1) and holds what its table in A.5.3 asks for."""

import json
import os
from base64 import b64decode
from pathlib import Path

import pytest
from lxml import etree

from lfmri_node.dicom_io.types import SentQuery
from lfmri_node.node.audit.messages import Deed, Message, Speaker, at_machine, destination
from lfmri_node.node.audit.xml import to_xml
from lfmri_node.node.config import DicomDestinationSection, OrthancDestinationSection

SCHEMA = etree.RelaxNG(etree.parse(Path(__file__).with_name("schema.rng")))
SPEAKER = Speaker(ae_title="LFMRI")
PACS = destination(
    DicomDestinationSection(kind="dicom", name="pacs", host="pacs.example.org", port=104, ae_title="PACS")
)
ORTHANC = destination(OrthancDestinationSection(kind="orthanc", name="o", url="https://o.example.org:8042"))
WHOSE = ("4711", "1.2.3")
PERSON = at_machine("anna", "node.example.org")
CLASSES = ["1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.30"]
QUESTION = SentQuery(
    sop_class_uid="1.2.840.10008.5.1.4.1.2.2.1",
    transfer_syntax_uid="1.2.840.10008.1.2",
    identifier=b"\x08\x00\x52\x00\x06\x00\x00\x00IMAGE ",
)

MESSAGES: dict[str, tuple[Message, str, str | None]] = {
    "start": (SPEAKER.application(started=True), "110100", "110120"),
    "stop": (SPEAKER.application(started=False), "110100", "110121"),
    "attach": (SPEAKER.network_entry(attached=True), "110108", "110124"),
    "detach": (SPEAKER.network_entry(attached=False), "110108", "110125"),
    "received": (SPEAKER.received("GATEWAY", WHOSE, CLASSES[:1]), "110104", None),
    "received from nobody": (SPEAKER.received("SCANNER", ("", ""), CLASSES[:1]), "110104", None),
    "begins": (SPEAKER.begins(PACS, WHOSE, CLASSES), "110102", None),
    "sent": (SPEAKER.sent(ORTHANC, WHOSE, CLASSES, missing=0), "110104", None),
    "sent in part": (SPEAKER.sent(PACS, WHOSE, [], missing=3), "110104", None),
    "query": (SPEAKER.queried(PACS, QUESTION, answered=True), "110112", None),
    "vain query": (SPEAKER.queried(PACS, QUESTION, answered=False), "110112", None),
    "deed": (SPEAKER.deed(Deed.ASSIGN, PERSON, "3f2a9c01d4e7", WHOSE, succeeded=True), "110103", "assign"),
    "vain deed": (
        SPEAKER.deed(Deed.RETRY, PERSON, "3f2a9c01d4e7", ("", ""), succeeded=False),
        "110103",
        "retry",
    ),
    "own deed": (SPEAKER.deed(Deed.PURGE, None, "3f2a9c01d4e7", WHOSE, succeeded=True), "110103", "purge"),
    "alert": (SPEAKER.alert("LF-NET-041", "no TLS handshake", "192.0.2.1"), "110113", "110126"),
    "login": (SPEAKER.login("anna", "192.0.2.1", succeeded=True), "110114", "110122"),
    "vain login": (SPEAKER.login("\x00<anna>", "192.0.2.1", succeeded=False), "110114", "110122"),
    "logout": (SPEAKER.logout("anna", "192.0.2.1"), "110114", "110123"),
}


def parsed(message: Message) -> etree._Element:
    """After the way that it takes: a line of JSON, then XML."""
    return etree.fromstring(to_xml(json.loads(json.dumps(message.to_document()))))


@pytest.mark.parametrize("name", MESSAGES)
def test_the_schema_accepts_it(name: str) -> None:
    message, event, kind = MESSAGES[name]
    document = parsed(message)
    SCHEMA.assertValid(document)
    assert document.xpath("string(EventIdentification/EventID/@csd-code)") == event
    assert document.xpath("string(EventIdentification/EventTypeCode/@csd-code)") == (kind or "")


@pytest.mark.parametrize(
    ("name", "outcome"),
    [
        ("sent", "0"),
        ("sent in part", "4"),
        ("login", "0"),
        ("vain login", "4"),
        ("query", "0"),
        ("vain query", "4"),
        ("deed", "0"),
        ("vain deed", "4"),
    ],
)
def test_the_outcome_is_told(name: str, outcome: str) -> None:
    assert parsed(MESSAGES[name][0]).xpath("string(EventIdentification/@EventOutcomeIndicator)") == outcome


@pytest.mark.parametrize("name", ["received", "begins", "sent"])
def test_a_transfer_names_source_destination_study_and_patient(name: str) -> None:
    document = parsed(MESSAGES[name][0])
    assert sorted(document.xpath("ActiveParticipant/RoleIDCode/@csd-code")) == ["110152", "110153"]
    assert document.xpath("ActiveParticipant[@UserIsRequestor='true']/RoleIDCode/@csd-code") == ["110153"]
    said = "ParticipantObjectIdentification[ParticipantObjectIDTypeCode/@csd-code='{}']/@ParticipantObjectID"
    assert document.xpath(said.format("110180")) == [WHOSE[1]]
    assert document.xpath(said.format("2")) == [WHOSE[0]]


def test_a_query_names_who_asks_whom_for_what() -> None:
    document = parsed(MESSAGES["query"][0])
    assert document.xpath("ActiveParticipant/RoleIDCode/@csd-code") == ["110153", "110152"]
    (asked,) = document.xpath("ParticipantObjectIdentification")
    assert asked.get("ParticipantObjectID") == QUESTION.sop_class_uid
    assert asked.xpath("string(ParticipantObjectIDTypeCode/@csd-code)") == "110181"
    assert b64decode(asked.findtext("ParticipantObjectQuery")) == QUESTION.identifier
    said = asked.xpath("string(ParticipantObjectDetail[@type='TransferSyntax']/@value)")
    assert b64decode(said).decode() == QUESTION.transfer_syntax_uid


@pytest.mark.parametrize(("name", "action", "requestor"), [("deed", "U", "anna"), ("own deed", "D", None)])
def test_a_deed_names_who_did_it_to_which_job_of_whom(name: str, action: str, requestor: str | None) -> None:
    document = parsed(MESSAGES[name][0])
    assert document.xpath("string(EventIdentification/@EventActionCode)") == action
    asked = document.xpath("ActiveParticipant[@UserIsRequestor='true']/@UserID")
    assert asked == [requestor or str(os.getpid())]
    job = document.xpath(
        "ParticipantObjectIdentification[@ParticipantObjectTypeCodeRole='20']/@ParticipantObjectID"
    )
    assert job == ["3f2a9c01d4e7"]
    others = document.xpath("ParticipantObjectIdentification[@ParticipantObjectTypeCodeRole!='20']")
    assert {item.get("ParticipantObjectID") for item in others} == set(WHOSE)


def test_instances_are_counted_by_class() -> None:
    found = parsed(MESSAGES["sent"][0]).xpath("//SOPClass")
    assert {item.get("UID"): item.get("NumberOfInstances") for item in found} == {
        CLASSES[0]: "2",
        CLASSES[2]: "1",
    }
