"""Certificates: what we show, and whose we believe. Every file is PEM."""

from __future__ import annotations

from pydantic import model_validator

from lfmri_node.dicom_io.tls import ClientTls, ServerTls
from lfmri_node.node.config.kinds import FilePath, Section


class ListenerTlsSection(Section):
    """TLS of the listener; a caller has to show a certificate unless a site says otherwise."""

    certificate: FilePath
    key: FilePath
    ca: FilePath | None = None
    require_client_certificate: bool = True
    crl: FilePath | None = None

    @model_validator(mode="after")
    def _can_be_checked(self) -> ListenerTlsSection:
        self.settings()
        return self

    def settings(self) -> ServerTls:
        return ServerTls(
            certificate=self.certificate,
            key=self.key,
            ca=self.ca,
            require_client_certificate=self.require_client_certificate,
            crl=self.crl,
        )


class PagesTlsSection(Section):
    """TLS of the console; browsers show no certificate."""

    certificate: FilePath
    key: FilePath

    def settings(self) -> ServerTls:
        return ServerTls(certificate=self.certificate, key=self.key, require_client_certificate=False)


class ClientTlsSection(Section):
    """TLS towards a destination, whose certificate has to name its host."""

    ca: FilePath
    certificate: FilePath | None = None
    key: FilePath | None = None
    crl: FilePath | None = None

    @model_validator(mode="after")
    def _belong_together(self) -> ClientTlsSection:
        self.settings()
        return self

    def settings(self) -> ClientTls:
        return ClientTls(ca=self.ca, certificate=self.certificate, key=self.key, crl=self.crl)
