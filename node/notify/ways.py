"""The ways of telling: a signed HTTP POST, an e-mail. Each either is known to have been taken, or raises."""

from __future__ import annotations

import hashlib
import hmac
import json
import smtplib
import ssl
import urllib.error
import urllib.request
from email.message import EmailMessage
from http.client import HTTPException
from typing import Any

from lfmri_node.dicom_io.errors import TlsError
from lfmri_node.dicom_io.tls import ClientTls
from lfmri_node.node.config import Config
from lfmri_node.node.config.watching import MailSection, NotifySection, WebhookSection

ANSWER_S = 20.0
FAILURES = (OSError, HTTPException, smtplib.SMTPException, TlsError)
"""What `tell` raises where a message was not taken, or it is not known whether it was."""


def tell(section: NotifySection, document: dict[str, Any]) -> None:
    """Send a message.

    Raises
    ------
    OSError, HTTPException, SMTPException, TlsError
        It was not taken.
    ConfigError
        LF-CFG-005 where a secret cannot be had.
    """
    if isinstance(section, WebhookSection):
        _post(section, document)
    else:
        _mail(section, document)


def require_secrets(config: Config) -> None:
    """Check that every way of telling has the secret that it names, and its revocation list.

    Raises
    ------
    ConfigError
        LF-CFG-005.
    TlsError
        LF-NET-043.
    """
    for section in config.notify:
        secret_of(section)
        if section.crl is not None:
            _context(section)


def secret_of(section: NotifySection) -> str | None:
    """What signs its messages, or the password of its login; LF-CFG-005 as `require_secrets`."""
    return section.secret() if isinstance(section, WebhookSection) else section.password()


def signature(secret: str, moment: str, body: bytes) -> str:
    """Hex HMAC-SHA-256 over the text of the time, a full stop and the body: an old message cannot pass for
    a new one."""
    return hmac.new(secret.encode("utf-8"), moment.encode("ascii") + b"." + body, hashlib.sha256).hexdigest()


class _StaysHere(urllib.request.HTTPRedirectHandler):
    """A redirection is an error: what was meant for one server is not sent to another."""

    def redirect_request(self, *_arguments: object) -> None:
        return None


def _post(section: WebhookSection, document: dict[str, Any]) -> None:
    body = json.dumps(document).encode("utf-8")
    request = urllib.request.Request(section.url, data=body, method="POST")
    request.add_header("Content-Type", "application/json")
    request.add_header("X-Lfmri-Timestamp", document["at"])
    secret = section.secret()
    if secret is not None:
        request.add_header("X-Lfmri-Signature", f"sha256={signature(secret, document['at'], body)}")
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}),
        urllib.request.HTTPSHandler(context=_context(section)),
        _StaysHere(),
    )
    with opener.open(request, timeout=ANSWER_S):
        pass


def _mail(section: MailSection, document: dict[str, Any]) -> None:
    message = EmailMessage()
    message["From"], message["To"] = section.sender, ", ".join(section.to)
    message["Subject"] = f"lfmri-node {document['node']}: {len(document['new'])} new, see inside"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(
        f"{document['at']}\n\n{document['text']}\n\nlfmri-node status names codes and hints.\n"
    )
    with smtplib.SMTP(section.host, section.port, timeout=ANSWER_S) as server:
        if section.starttls:
            server.starttls(context=_context(section))
        password = section.password()
        if section.user is not None and password is not None:
            server.login(section.user, password)
        server.send_message(message)


def _context(section: NotifySection) -> ssl.SSLContext:
    if section.ca_file is not None and section.crl is not None:
        return ClientTls(ca=section.ca_file, crl=section.crl).context()
    return ssl.create_default_context(cafile=section.ca_file)
