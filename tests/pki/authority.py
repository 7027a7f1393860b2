"""A certificate authority for tests: certificates of any name, expired or revoked, and revocation lists."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

DAY = timedelta(days=1)


@dataclass(frozen=True)
class Identity:
    """A certificate and its key, as files."""

    certificate: Path
    key: Path
    serial: int


class Authority:
    """Signs; its own certificate is ``ca``."""

    def __init__(self, folder: Path, name: str = "Test CA") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = self._builder(self._name, self._key.public_key(), days=3650)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        self.certificate = builder.sign(self._key, hashes.SHA256())

    @cached_property
    def ca(self) -> Path:
        path = self._folder / "ca.pem"
        path.write_bytes(self.certificate.public_bytes(Encoding.PEM))
        return path

    def issue(self, name: str, *, hosts: Sequence[str] = (), days: float = 30) -> Identity:
        """A certificate for ``name`` and the names or addresses of ``hosts``; ``days`` below 0: expired."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = self._builder(
            x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]), key.public_key(), days
        )
        if hosts:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([_general(host) for host in hosts]), False
            )
        certificate = builder.sign(self._key, hashes.SHA256())
        files = Identity(
            self._folder / f"{name}.pem", self._folder / f"{name}.key", certificate.serial_number
        )
        files.certificate.write_bytes(certificate.public_bytes(Encoding.PEM))
        files.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        files.key.chmod(0o600)
        return files

    def revoke(self, *revoked: Identity, days: float = 30) -> Path:
        """A revocation list that holds these; ``days`` below 0: one that should have been renewed."""
        now = datetime.now(UTC)
        until = now + days * DAY
        builder = x509.CertificateRevocationListBuilder(self._name, min(now, until) - DAY, until)
        for identity in revoked:
            entry = x509.RevokedCertificateBuilder().serial_number(identity.serial).revocation_date(now - DAY)
            builder = builder.add_revoked_certificate(entry.build())
        path = self._folder / "crl.pem"
        path.write_bytes(builder.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM))
        return path

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePublicKey, days: float
    ) -> x509.CertificateBuilder:
        until = datetime.now(UTC) + days * DAY
        return x509.CertificateBuilder(
            self._name, subject, key, x509.random_serial_number(), min(datetime.now(UTC), until) - DAY, until
        )


def _general(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)
