"""Whether monitoring is answered, and whether people can be told."""

from __future__ import annotations

import json
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from urllib.parse import urlsplit

from lfmri_node.node.config import Config
from lfmri_node.node.config.watching import NotifySection, WebhookSection
from lfmri_node.node.doctor.findings import Finding, State, guarded, ok
from lfmri_node.node.layout import Layout
from lfmri_node.node.lock import holder
from lfmri_node.node.notify.ways import secret_of

_PATIENCE_S = 5.0
_MOST_BYTES = 1 << 16


def monitor(config: Config, layout: Layout) -> Iterator[Finding]:
    """What ``/readyz`` of the running service says."""
    section = config.monitor
    if not section.port or holder(layout.state) is None:
        return
    host = "127.0.0.1" if section.host in ("0.0.0.0", "::") else section.host
    name = f"[{host}]" if ":" in host else host
    try:
        reasons = json.loads(_asked(f"http://{name}:{section.port}/readyz"))["reasons"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        what = f"{section.host}:{section.port} does not answer as it should ({type(error).__name__})"
        yield _warning("monitor", what, "it listens once the service has read [monitor] at its start")
    else:
        if reasons:
            yield _warning("monitor", f"/readyz: {'; '.join(reasons)}", "the reasons say what to do")
        else:
            yield ok("monitor", "/readyz: scans are taken")


def _asked(url: str) -> bytes:
    """The page, whatever its status."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=_PATIENCE_S) as answer:
            return bytes(answer.read(_MOST_BYTES))
    except urllib.error.HTTPError as error:
        with error:
            return error.read(_MOST_BYTES)


def notify(config: Config, _layout: Layout) -> Iterator[Finding]:
    """Whether each way of telling has its secret, and its server takes connections."""
    for section in config.notify:
        yield from guarded(f"notify {section.name}", _way(section))


def _way(section: NotifySection) -> Iterator[Finding]:
    secret_of(section)
    host, port = _server(section)
    try:
        socket.create_connection((host, port), timeout=_PATIENCE_S).close()
    except OSError as error:
        what = f"{host}:{port} cannot be reached ({error.strerror or 'timed out'})"
        yield _warning(
            f"notify {section.name}", what, "correct its entry; what is to be told waits meanwhile"
        )
    else:
        yield ok(f"notify {section.name}", f"{host}:{port} takes connections")


def _server(section: NotifySection) -> tuple[str, int]:
    if not isinstance(section, WebhookSection):
        return section.host, section.port
    parts = urlsplit(section.url)
    return str(parts.hostname), parts.port or (443 if parts.scheme == "https" else 80)


def _warning(check: str, message: str, hint: str) -> Finding:
    return Finding(check=check, state=State.WARNING, message=message, code="LF-DOC-036", hint=hint)
