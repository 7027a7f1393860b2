"""doctor: certificates end, and senders' clocks go wrong; both are told before somebody is hurt."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from lfmri_node.node.config import from_document, load
from lfmri_node.node.doctor.certificates import certificate_finding, configured
from lfmri_node.node.doctor.clocks import lag_finding, study_time
from lfmri_node.node.doctor.examine import examine
from lfmri_node.node.doctor.findings import State

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def certificate(path: Path, *ends: datetime) -> Path:
    """A PEM file of certificates, self-made, that began a year ago."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    made = [
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - 365 * DAY)
        .not_valid_after(end)
        .sign(key, hashes.SHA256())
        for end in ends
    ]
    path.write_bytes(b"".join(item.public_bytes(Encoding.PEM) for item in made))
    return path


def revocation_list(path: Path, end: datetime) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    builder = x509.CertificateRevocationListBuilder().issuer_name(name)
    crl = builder.last_update(NOW - 40 * DAY).next_update(end)
    path.write_bytes(crl.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM))
    return path


@pytest.mark.parametrize("make", [certificate, revocation_list])
@pytest.mark.parametrize(
    ("left", "state", "code"),
    [
        (-DAY, State.FAILED, "LF-DOC-031"),
        (timedelta(0), State.FAILED, "LF-DOC-031"),
        (29 * DAY, State.WARNING, "LF-DOC-032"),
        (31 * DAY, State.OK, ""),
    ],
)
def test_the_end_is_told_before_it_comes(tmp_path: Path, make, left, state, code) -> None:
    found = certificate_finding("tls", make(tmp_path / "x.pem", NOW + left), NOW)
    assert (found.state, found.code) == (state, code)


def test_of_a_chain_the_first_to_end_counts(tmp_path: Path) -> None:
    path = certificate(tmp_path / "chain.pem", NOW + 300 * DAY, NOW - DAY)
    assert certificate_finding("tls", path, NOW).code == "LF-DOC-031"


def test_one_that_has_not_begun(tmp_path: Path) -> None:
    path = certificate(tmp_path / "x.pem", NOW + 300 * DAY)
    assert certificate_finding("tls", path, NOW - 400 * DAY).code == "LF-DOC-031"


@pytest.mark.parametrize("content", [b"", b"no certificate", b"-----BEGIN X509 CRL-----\nAAAA\n"])
def test_a_file_that_is_none(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.pem"
    path.write_bytes(content)
    assert certificate_finding("tls", path, NOW).code == "LF-DOC-033"
    assert certificate_finding("tls", tmp_path / "absent.pem", NOW).code == "LF-DOC-033"


def test_every_file_of_the_configuration_is_looked_at(tmp_path: Path) -> None:
    tls = {"certificate": "own.pem", "key": "own.key", "ca": "ca.pem", "crl": "crl.pem"}
    pacs = {"kind": "dicom", "name": "pacs", "host": "h", "port": 104, "ae_title": "P"}
    pacs |= {"tls": {"ca": "pacs.pem"}}
    hook = {"kind": "webhook", "name": "hook", "url": "https://h", "ca_file": "hook.pem"}
    document = {"listener": {"tls": tls}, "destinations": [pacs], "notify": [hook]}
    config = from_document(document, base=tmp_path, name="test")
    assert {key: path.name for key, path in configured(config)} == {
        "listener.tls.certificate": "own.pem",
        "listener.tls.ca": "ca.pem",
        "listener.tls.crl": "crl.pem",
        "destinations[pacs].tls.ca": "pacs.pem",
        "notify[hook].ca_file": "hook.pem",
    }


def test_doctor_names_a_certificate_that_has_ended(tmp_path: Path) -> None:
    authority = trustme.CA()
    pem = tmp_path / "own.pem"
    ended = authority.issue_cert("h", not_after=datetime.now(UTC) - DAY)
    ended.private_key_and_cert_chain_pem.write_to_path(str(pem))
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    path = tmp_path / "config.toml"
    path.write_text('[listener.tls]\ncertificate = "own.pem"\nkey = "own.pem"\nca = "ca.pem"\n')
    found = [item for item in examine(lambda: load(path)) if item.check == "certificates"]
    assert [item.code for item in found] == ["LF-DOC-031", ""]


HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("lags", "code"),
    [
        ([HOUR, 2 * HOUR], ""),
        ([-timedelta(minutes=4), HOUR], ""),
        ([HOUR, -timedelta(minutes=6)], "LF-DOC-034"),
        ([13 * HOUR] * 3, "LF-DOC-035"),
        ([13 * HOUR] * 2, ""),  # two old scans prove nothing
        ([13 * HOUR, 13 * HOUR, HOUR], ""),
    ],
)
def test_what_the_times_of_a_sender_say(lags, code) -> None:
    found = lag_finding("GATEWAY", lags)
    assert (found.code, found.state) == (code, State.WARNING if code else State.OK)


def test_a_time_has_the_zone_that_its_sender_states() -> None:
    said = {"StudyDate": "20261129", "StudyTime": "120000.5", "TimezoneOffsetFromUTC": "+0200"}
    assert study_time(said) == datetime(2026, 11, 29, 10, 0, 0, 500000, tzinfo=UTC)
    ours = study_time(said | {"TimezoneOffsetFromUTC": ""})
    assert ours == datetime(2026, 11, 29, 12, 0, 0, 500000).astimezone()


@pytest.mark.parametrize("wrong", [{"StudyDate": ""}, {"StudyTime": "noon"}, {"StudyDate": "20261399"}])
def test_a_time_that_is_none_says_nothing(wrong: dict[str, str]) -> None:
    assert study_time({"StudyDate": "20261129", "StudyTime": "120000", **wrong}) is None


def test_a_sender_whose_clock_is_ahead_is_named(node, make_scan) -> None:
    node.start()
    tomorrow = f"{datetime.now(UTC) + 2 * DAY:%Y%m%d}"
    node.send(make_scan(), StudyDate=tomorrow, StudyTime="120000")
    node.wait_finished()
    (found,) = [item for item in examine(lambda: load(node.config)) if item.check == "sender clocks"]
    assert (found.state, found.code) == (State.WARNING, "LF-DOC-034")
    assert "GATEWAY" in found.message
