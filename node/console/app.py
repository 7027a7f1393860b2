"""The addresses of the console and what each answers: pages, fragments that are polled, pictures, forms."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Query, Request
from fastapi import Path as PathParameter
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

from lfmri_node.node.audit.messages import at_address
from lfmri_node.node.config import Config
from lfmri_node.node.console.access import Refused
from lfmri_node.node.console.facts import Facts
from lfmri_node.node.console.guard import Guard, Guarded
from lfmri_node.node.console.words import environment
from lfmri_node.node.deeds import Deeds
from lfmri_node.node.delivery.destinations import probe
from lfmri_node.node.errors import NodeError, damaged_database

JobName = Annotated[str, PathParameter(pattern=r"^[0-9a-f]{1,64}$")]
MostJobs = Annotated[int, Query(ge=0)]
_HERE = Path(__file__).parent
_STATUSES = {
    "LF-CON-003": 403,
    "LF-CON-004": 404,
    "LF-CON-005": 404,
    "LF-CON-006": 404,
    "LF-CON-010": 503,
    "LF-CON-012": 401,
    "LF-CON-013": 429,
    "LF-JOB-003": 503,
    "LF-JOB-004": 503,
    "LF-JOB-005": 404,
    "LF-JOB-041": 503,
}
_CONFLICT = 409
ANSWERS = "answers"
UNNAMED = "unnamed"
"""In the audit trail, who does something in a console without a login."""


class Pages:
    """Renders templates with what every page shows."""

    def __init__(self, facts: Facts, guard: Guard) -> None:
        self._environment = environment(base=guard.prefix)
        self._guard = guard
        self._facts = facts

    def page(self, name: str, *, status: int = 200, **values: Any) -> HTMLResponse:
        """A whole page."""
        return self.fragment(name, status=status, **self._facts.frame(), **values)

    def fragment(self, name: str, *, status: int = 200, **values: Any) -> HTMLResponse:
        """A part of one, or a page that needs nothing of the job table."""
        shown = {"visitor": self._guard.visitor, "token": self._guard.form_token, **values}
        return HTMLResponse(self._environment.get_template(name).render(shown), status)

    def failed(self, error: NodeError) -> HTMLResponse:
        """What was wrong, and what to do."""
        return self.fragment("error.html", status=_STATUSES.get(error.code, _CONFLICT), error=error)


def create_app(config: Config, guard: Guard) -> Guarded:
    """The console over the data directory of ``config``."""
    facts = Facts(config)
    pages = Pages(facts, guard)
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.mount("/static", StaticFiles(directory=_HERE / "static"), name="static")
    _add_errors(app, pages)
    _add_queue(app, facts, pages)
    _add_job(app, facts, pages)
    _add_overviews(app, facts, pages, guard)
    _add_forms(app, facts, pages, guard)
    if guard.access.has_login:
        _add_login(app, pages, guard)
    return Guarded(app, guard=guard)


def _add_errors(app: FastAPI, pages: Pages) -> None:
    not_found = NodeError("LF-CON-006", "the console has no such page", "begin at the queue")

    def failed(_request: Request, error: Exception) -> Response:
        assert isinstance(error, NodeError)
        return pages.failed(error)

    def damaged(_request: Request, error: Exception) -> Response:
        assert isinstance(error, sqlite3.Error)
        return pages.failed(damaged_database(error))

    def unknown(_request: Request, _error: Exception) -> Response:
        return pages.failed(not_found)

    app.add_exception_handler(NodeError, failed)
    app.add_exception_handler(sqlite3.Error, damaged)
    app.add_exception_handler(HTTPException, unknown)
    app.add_exception_handler(RequestValidationError, unknown)


def _add_queue(app: FastAPI, facts: Facts, pages: Pages) -> None:
    @app.get("/")
    def queue(last: MostJobs = 100, retried: int | None = None, stay: int = 0) -> Response:
        return pages.page("queue.html", **facts.queue(last), last=last, retried=retried, stay=stay)

    @app.get("/fragments/queue")
    def live_queue(last: MostJobs = 100) -> Response:
        return pages.fragment("_queue.html", **facts.frame(), **facts.queue(last))

    @app.get("/quarantine")
    def quarantine() -> Response:
        return pages.page("quarantine.html", **facts.quarantine())


def _add_job(app: FastAPI, facts: Facts, pages: Pages) -> None:
    @app.get("/jobs/{name}")
    def job(name: JobName, retried: int | None = None, slice: int | None = None) -> Response:
        shown = {**facts.job(name), **facts.pictures(name)}
        return pages.page("job.html", **shown, retried=retried, chosen=slice)

    @app.get("/jobs/{name}/state")
    def live_state(name: JobName) -> Response:
        return pages.fragment("_state.html", **facts.frame(), **facts.job(name))

    @app.get("/jobs/{name}/live")
    def live_job(name: JobName) -> Response:
        return pages.fragment("_job.html", **facts.frame(), **facts.job(name))

    @app.get("/jobs/{name}/{kind}/{number}.png")
    def slice_of_job(name: JobName, kind: str, number: int) -> Response:
        return Response(facts.picture(name, kind, number), media_type="image/png")


def _add_overviews(app: FastAPI, facts: Facts, pages: Pages, guard: Guard) -> None:
    @app.get("/destinations")
    def destinations() -> Response:
        return pages.page("destinations.html", places=facts.destinations(), answers={})

    @app.get("/history")
    def history() -> Response:
        return pages.page("history.html", **facts.history())

    @app.get("/users")
    def users() -> Response:
        return pages.page("users.html", users=guard.access.users())

    @app.get("/storage")
    def storage() -> Response:
        return pages.page("storage.html", **facts.storage())


def _add_forms(app: FastAPI, facts: Facts, pages: Pages, guard: Guard) -> None:
    """What does something; each asks for the token first."""
    config, ours = facts.config, [Depends(guard.require_token)]

    def deeds(request: Request) -> Deeds:
        """By who is logged in; without a login nobody has to say who they are."""
        name = guard.visitor.name if guard.visitor is not None else ""
        return Deeds(config=config, by=at_address(name or UNNAMED, _address(request)))

    @app.post("/jobs/{name}/retry", dependencies=ours)
    def retry(name: JobName, request: Request) -> Response:
        opened = deeds(request).retry(name)
        return RedirectResponse(f"{guard.prefix}/jobs/{opened}?retried=1", 303)

    @app.post("/quarantine/retry", dependencies=ours)
    def retry_every_one(request: Request) -> Response:
        retried = deeds(request).retry_all()
        where = f"{guard.prefix}/?retried={len(retried.names)}&stay={len(retried.stay)}"
        return RedirectResponse(where, 303)

    @app.post("/destinations/{name}/echo", dependencies=ours)
    def echo(name: str) -> Response:
        for section in config.destinations:
            if section.name == name:
                answer = probe(section, calling_ae=config.node.ae_title) or ANSWERS
                return pages.page("destinations.html", places=facts.destinations(), answers={name: answer})
        raise NodeError("LF-CON-006", "no destination has this name", "take one of the page of destinations")


def _add_login(app: FastAPI, pages: Pages, guard: Guard) -> None:
    """A page that asks for name and password, and the way out."""
    ours, home = [Depends(guard.require_token)], f"{guard.prefix}/"

    @app.get("/login")
    def ask() -> Response:
        return (
            RedirectResponse(home, 303)
            if guard.visitor is not None
            else pages.fragment("login.html", error=None)
        )

    @app.post("/login", dependencies=ours)
    def login(request: Request) -> Response:
        form = request.state.form
        try:
            cookie = guard.access.login(form.get("name", ""), form.get("password", ""), _address(request))
        except Refused as refused:
            return pages.fragment("login.html", status=_STATUSES[refused.code], error=refused)
        return RedirectResponse(home, 303, {"Set-Cookie": cookie})

    @app.post("/logout", dependencies=ours)
    def logout(request: Request) -> Response:
        name = guard.visitor.name if guard.visitor is not None else ""
        cookie = guard.access.logout(request.headers, name, _address(request))
        return RedirectResponse(f"{guard.prefix}/login", 303, {"Set-Cookie": cookie})


def _address(request: Request) -> str:
    return request.client.host if request.client is not None else ""
