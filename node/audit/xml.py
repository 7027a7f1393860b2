"""A message as the XML of the audit message schema (PS3.15 A.5.1)."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from typing import Any
from xml.etree.ElementTree import Element, SubElement, tostring

_APPLICATION_SERVER = "4"  # AuditSourceTypeCode, PS3.15 A.5.1


def to_xml(message: Mapping[str, Any]) -> bytes:
    """From what `messages.Message.to_document` gives, also after a way through JSON; UTF-8."""
    root = Element("AuditMessage")
    event = SubElement(
        root,
        "EventIdentification",
        EventActionCode=message["action"],
        EventDateTime=message["at"],
        EventOutcomeIndicator=str(int(message["outcome"])),
    )
    _code(event, "EventID", message["event"])
    if message["type"] is not None:
        _code(event, "EventTypeCode", message["type"])
    for participant in message["participants"]:
        _participant(root, participant)
    source = SubElement(root, "AuditSourceIdentification", AuditSourceID=_plain(message["source"]))
    SubElement(source, "AuditSourceTypeCode", {"csd-code": _APPLICATION_SERVER})
    for subject in message["subjects"]:
        _subject(root, subject)
    content: bytes = tostring(root, encoding="utf-8")
    return content


def _participant(root: Element, participant: Mapping[str, Any]) -> None:
    element = SubElement(
        root,
        "ActiveParticipant",
        UserID=_plain(participant["user"]),
        UserIsRequestor="true" if participant["requestor"] else "false",
    )
    if participant["ae_title"]:
        element.set("AlternativeUserID", f"AETITLES={_plain(participant['ae_title'])}")
    if participant["place"]:
        element.set("NetworkAccessPointID", _plain(participant["place"]))
        element.set("NetworkAccessPointTypeCode", participant["place_kind"])
    if participant["role"] is not None:
        _code(element, "RoleIDCode", participant["role"])


def _subject(root: Element, subject: Mapping[str, Any]) -> None:
    element = SubElement(
        root,
        "ParticipantObjectIdentification",
        ParticipantObjectID=_plain(subject["id"]),
        ParticipantObjectTypeCode=subject["type"],
        ParticipantObjectTypeCodeRole=subject["role"],
    )
    _code(element, "ParticipantObjectIDTypeCode", subject["kind"])
    if subject.get("query"):
        SubElement(element, "ParticipantObjectQuery").text = subject["query"]
    else:
        SubElement(element, "ParticipantObjectName")  # asked for by the schema, and empty: no names
    if subject["detail"]:
        said = {"type": subject["detail_kind"], "value": _base64(subject["detail"])}
        SubElement(element, "ParticipantObjectDetail", said)
    if subject["classes"]:
        description = SubElement(element, "ParticipantObjectDescription")
        for uid, count in subject["classes"].items():
            SubElement(description, "SOPClass", UID=_plain(uid), NumberOfInstances=str(count))


def _code(parent: Element, name: str, code: Mapping[str, str]) -> None:
    said = {"csd-code": code["code"], "codeSystemName": code["scheme"], "originalText": code["meaning"]}
    SubElement(parent, name, said)


def _base64(text: str) -> str:
    return b64encode(text.encode("utf-8")).decode("ascii")


def _plain(text: str) -> str:
    """Without the control characters that XML cannot carry."""
    return "".join(character if character.isprintable() else "?" for character in text)
