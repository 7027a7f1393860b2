"""``lfmri-node console``: the pages on a socket, until SIGTERM or Ctrl-C."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec

from lfmri_node.node import logs
from lfmri_node.node.config import Config, ConsoleSection
from lfmri_node.node.errors import ConfigError

_NEEDED = ("argon2", "fastapi", "uvicorn", "jinja2")


def serve_console(config: Config, *, ready: Callable[[str], None]) -> None:
    """Serve until a signal ends the process; ``ready`` is told the address once it answers.

    Raises
    ------
    ConfigError
        LF-CON-001 the address is reached from elsewhere, LF-CON-007 it cannot be used, LF-CON-008 the
        packages of the extra ``console`` are not installed.
    TlsError
        LF-NET-043 the certificate or key of the console cannot be used.
    """
    if any(find_spec(name) is None for name in _NEEDED):
        raise ConfigError(
            "LF-CON-008",
            "the packages of the console are not installed",
            "`pip install 'lfmri-node[console]'` into the node's environment",
        )
    import uvicorn

    from lfmri_node.node.audit.auditor import Auditor
    from lfmri_node.node.console.app import create_app
    from lfmri_node.node.console.guard import Guard, require_safe_binding

    require_safe_binding(config.console)
    logs.configure(config.logging.level)
    context = config.console.tls.settings().context() if config.console.tls is not None else None
    with _bound(config.console) as bound:
        app = create_app(config, Guard.of(config.console, Auditor(config)))
        settings = uvicorn.Config(
            app, log_config=None, access_log=False, server_header=False, proxy_headers=False
        )
        settings.load()
        settings.ssl = context
        server = uvicorn.Server(settings)
        host, port = bound.getsockname()[:2]
        shown = f", shown as {config.console.url}" if config.console.url else ""
        scheme = "http" if context is None else "https"
        ready(f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}/{shown}")
        with suppress(KeyboardInterrupt):  # uvicorn has ended in good order, and raises it again
            server.run(sockets=[bound])


def _bound(section: ConsoleSection) -> socket.socket:
    """A listening socket: whoever is told the address is answered, be it a moment later."""
    try:
        family = socket.getaddrinfo(section.host, section.port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(family[4][:2], family=family[0])
    except OSError as error:
        raise ConfigError(
            "LF-CON-007",
            f"{section.host}:{section.port} cannot be used ({error.strerror})",
            "stop what uses it, or change console.host and console.port",
        ) from None
