"""Who may report on storage commitment: the destination that was asked, by title, place and certificate."""

from __future__ import annotations

from pathlib import Path

import pytest

from lfmri_node.dicom_io.receive.policy import Rejection
from lfmri_node.node.audit.auditor import Auditor
from lfmri_node.node.config import Config, from_document
from lfmri_node.node.errors import ConfigError
from lfmri_node.node.ingest import access_policy

TLS = {"certificate": "node.pem", "key": "node.key", "ca": "ca.pem"}
PACS = {"kind": "dicom", "name": "pacs", "host": "127.0.0.1", "port": 104, "ae_title": "PACS"}
BOUND = PACS | {"commitment": True, "report_certificate": "PACS.example.org"}


def config(folder: Path, destination: dict, **listener: object) -> Config:
    document = {"node": {"data_dir": "data"}, "listener": listener, "destinations": [destination]}
    return from_document(document, base=folder, name="test")


def check(found: Config, names: set[str]) -> Rejection | None:
    return access_policy(found).check(
        calling="PACS", called="LFMRI", ours="LFMRI", address="127.0.0.1", names=names
    )


def test_a_bound_archive_reports_with_its_certificate_and_never_sends(tmp_path: Path) -> None:
    found = config(tmp_path, BOUND, tls=TLS)
    policy = access_policy(found)
    assert check(found, {"pacs.example.org"}) is None
    assert policy.may(calling="PACS", address="127.0.0.1", names={"pacs.example.org"}) == (False, True)
    assert policy.may(calling="PACS", address="127.0.0.1", names={"gateway.example.org"}) == (False, False)


def test_somebody_else_under_its_title_is_refused_and_told_to_the_trail(tmp_path: Path) -> None:
    found = config(tmp_path, BOUND, tls=TLS)
    refused = check(found, {"gateway.example.org"})
    assert refused is Rejection.WRONG_CERTIFICATE
    Auditor(found).refused(refused.code, refused.message, "127.0.0.1")
    (path,) = (found.node.data_dir / "audit").iterdir()
    assert "Security Alert" in path.read_text()
    assert "LF-NET-042" in path.read_text()


def test_without_the_key_the_title_and_the_address_decide(tmp_path: Path) -> None:
    assert check(config(tmp_path, PACS | {"commitment": True}, tls=TLS), set()) is None


@pytest.mark.parametrize("listener", [{}, {"tls": TLS | {"ca": None, "require_client_certificate": False}}])
def test_what_nobody_checks_cannot_be_asked_for(tmp_path: Path, listener: dict) -> None:
    with pytest.raises(ConfigError, match="report_certificate"):
        config(tmp_path, BOUND, **listener)
