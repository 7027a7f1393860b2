"""Login, roles and sessions of the console, as browsers and as somebody who forges requests."""

from __future__ import annotations

import json
import re
import ssl
import stat
import subprocess
import sys
from contextlib import closing
from http.client import HTTPSConnection
from pathlib import Path
from urllib.parse import urlencode

import pytest
from authority import Authority

from lfmri_node.node.console.sessions import Attempts, Sessions
from lfmri_node.node.console.users import Role, Users
from lfmri_node.node.errors import ConfigError
from lfmri_node.node.jobs.job import Failure
from lfmri_node.node.jobs.store import Store

PASSWORD = "correct horse battery"
PAGES = (
    "/",
    "/quarantine",
    "/destinations",
    "/history",
    "/storage",
    "/users",
    "/fragments/queue",
    "/nowhere",
)
ROLES = ("viewer", "operator", "admin")


def users(config: Path, *arguments: str, said: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "lfmri_node.node.cli", "users", *arguments, "--config", str(config)]
    return subprocess.run(command, input=said, capture_output=True, text=True, check=False)


def with_a_table(node) -> None:
    """As if the node had run."""
    node.layout.state.mkdir(parents=True)
    Store(node.layout.job_table).close()


@pytest.fixture
def guarded(node, start_console):
    """A console with a user of each role, over a node that does not run."""
    node.configure('[console]\nport = 0\nusers_file = "users.json"')
    with_a_table(node)
    for role in ROLES:
        Users(node.folder / "users.json").put(f"a-{role}", Role(role), PASSWORD)
    return start_console(node.config)


class Visit:
    """A browser with one cookie."""

    def __init__(self, console) -> None:
        self.console = console
        self.cookie = ""

    def get(self, path: str, **headers: str):
        return self.console.ask(path, Cookie=self.cookie, **headers)

    def post(self, path: str, fields: dict[str, str], **headers: str):
        origin = {"Origin": f"http://{self.console.host}"} | headers
        return self.console.ask(path, "POST", urlencode(fields), Cookie=self.cookie, **origin)

    def token(self, page: str) -> str:
        return re.findall(r'name="token" value="([^"]+)"', self.get(page).text)[0]

    def login(self, name: str, password: str = PASSWORD):
        answer = self.post("/login", {"token": self.token("/login"), "name": name, "password": password})
        self.cookie = answer.headers.get("set-cookie", "").partition(";")[0]
        return answer


def test_nobody_sees_anything_before_the_login(guarded) -> None:
    for page in PAGES:
        answer = guarded.ask(page)
        assert (answer.status, answer.headers["location"]) == (303, "/login"), page
        assert guarded.ask(page, **{"Sec-Fetch-Mode": "cors"}).status == 401
        assert guarded.ask(page, "POST", "token=x", Origin=f"http://{guarded.host}").status == 401
    assert guarded.ask("/static/console.css").status == 200


def test_a_session_is_a_cookie_that_scripts_and_other_sites_do_not_get(guarded) -> None:
    answer = Visit(guarded).login("a-viewer")
    assert (answer.status, answer.headers["location"]) == (303, "/")
    assert re.fullmatch(
        r"lfmri-session=[\w-]{43}; Path=/; HttpOnly; SameSite=Strict", answer.headers["set-cookie"]
    )


@pytest.mark.parametrize(
    ("role", "echo", "list_of_users"), [(ROLES[0], 403, 403), (ROLES[1], 200, 403), (ROLES[2], 200, 200)]
)
def test_what_each_role_may(guarded, role: str, echo: int, list_of_users: int) -> None:
    visit = Visit(guarded)
    visit.login(f"a-{role}")
    page = visit.get("/destinations")
    assert page.status == 200
    assert f"a-{role} ({role})" in page.text
    assert ("/destinations/pacs/echo" in page.text) == (echo == 200), "no buttons that are not for them"
    token = visit.token("/destinations")
    assert visit.post("/destinations/pacs/echo", {"token": token}).status == echo
    assert visit.post("/quarantine/retry", {"token": token}).status == (403 if echo == 403 else 303)
    assert visit.get("/users").status == list_of_users


def test_a_form_needs_the_token_of_its_own_session(guarded) -> None:
    ours, theirs = Visit(guarded), Visit(guarded)
    ours.login("a-operator")
    theirs.login("a-admin")
    for token in ("", theirs.token("/destinations"), Visit(guarded).token("/login")):
        assert ours.post("/destinations/pacs/echo", {"token": token}).status == 403
    token = ours.token("/destinations")
    assert ours.post("/destinations/pacs/echo", {"token": token}, Origin="http://elsewhere").status == 403


def test_logging_out_ends_the_session(guarded) -> None:
    visit = Visit(guarded)
    visit.login("a-viewer")
    answer = visit.post("/logout", {"token": visit.token("/")})
    assert "Max-Age=0" in answer.headers["set-cookie"]
    assert visit.get("/").status == 303


def test_who_is_removed_has_no_session_any_more(guarded, node) -> None:
    visit = Visit(guarded)
    visit.login("a-operator")
    assert visit.get("/").status == 200
    assert users(node.config, "a-operator", "--remove").returncode == 0
    assert visit.get("/").status == 303
    assert visit.login("a-operator").status == 401


def test_failed_logins_are_slowed_down_and_on_record(guarded, node) -> None:
    visit = Visit(guarded)
    statuses = [visit.login("a-admin", "wrong password here").status for _ in range(6)]
    assert statuses == [401] * 5 + [429]
    assert visit.login("a-admin").status == 429, "with the right password, too"
    (trail,) = (node.layout.root / "audit").glob("*.jsonl")
    told = [json.loads(line) for line in trail.read_text().splitlines()]
    logins = [e["outcome"] for e in told if e["event"]["meaning"] == "User Authentication"]
    assert logins == [4] * 5
    assert "wrong password" not in trail.read_text()


def test_names_that_nobody_has_are_answered_like_wrong_passwords(guarded) -> None:
    known, unknown = (Visit(guarded).login(name, "wrong password here") for name in ("a-admin", "nobody"))
    strip = r'value="[^"]+"'
    assert (known.status, re.sub(strip, "", known.text)) == (unknown.status, re.sub(strip, "", unknown.text))


def test_a_proxy_says_who_it_is(node, start_console) -> None:
    node.configure(
        """
        [console]
        port = 0
        behind_proxy = true
        url = "https://pacs.example.org/lfmri"
        user_header = "X-Remote-User"
        users_file = "users.json"
        """
    )
    with_a_table(node)
    assert users(node.config, "anna", "--role", "viewer", "--no-password").returncode == 0
    console = start_console(node.config)
    assert console.ask("/").status == 401
    assert console.ask("/", **{"X-Remote-User": "berta"}).status == 401
    assert console.ask("/", **{"X-Remote-User": "anna"}).status == 200
    assert console.ask("/login").status == 404


def test_over_tls_others_come_in_by_its_name_and_the_cookie_stays_there(
    node, start_console, authority: Authority
) -> None:
    ours = authority.issue("console", hosts=["127.0.0.1"])
    node.configure(
        f"""
        [console]
        host = "0.0.0.0"
        port = 0
        url = "https://node.example.org:8443"
        users_file = "users.json"
        tls = {{ certificate = "{ours.certificate}", key = "{ours.key}" }}
        """
    )
    with_a_table(node)
    users(node.config, "anna", "--role", "viewer", said=PASSWORD + "\n")
    console = start_console(node.config)
    context = ssl.create_default_context(cafile=str(authority.ca))
    connection = HTTPSConnection("127.0.0.1", console.port, context=context)
    called = {"Host": "node.example.org:8443"}
    connection.request("GET", "/login", headers=called)
    token = re.findall(r'name="token" value="([^"]+)"', connection.getresponse().read().decode())[0]
    fields = urlencode({"token": token, "name": "anna", "password": PASSWORD})
    connection.request("POST", "/login", fields, called | {"Origin": "https://node.example.org:8443"})
    answer = connection.getresponse()
    connection.close()
    assert answer.status == 303
    assert answer.headers["Set-Cookie"].endswith("; Secure")


def test_a_password_is_never_on_disk_nor_on_the_command_line(node) -> None:
    node.configure('[console]\nusers_file = "users.json"')
    assert users(node.config, "anna", "--role", "viewer", said=PASSWORD + "\n").returncode == 0
    file = node.folder / "users.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert PASSWORD not in file.read_text()
    assert "$argon2id$" in file.read_text()
    listed = users(node.config)
    assert "anna" in listed.stdout
    assert "argon2" not in listed.stdout


@pytest.mark.parametrize("password", ["", "short", "x" * 257])
def test_passwords_that_are_refused(tmp_path: Path, password: str) -> None:
    with pytest.raises(ConfigError, match="LF-CON-011"):
        Users(tmp_path / "users.json").put("anna", Role.VIEWER, password)


def test_a_user_without_password_cannot_log_in(tmp_path: Path) -> None:
    known = Users(tmp_path / "users.json")
    known.put("anna", Role.VIEWER, None)
    assert not known.proves("anna", "")
    assert not known.proves("anna", "a password that nobody has")


@pytest.mark.parametrize("text", ["", "{}", '{"users": {"anna": {"role": "king", "hash": ""}}}', "\x00"])
def test_a_damaged_file_lets_nobody_in(tmp_path: Path, text: str) -> None:
    path = tmp_path / "users.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match="LF-CON-010"):
        Users(path).role("anna")


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_session_ends_when_nobody_does_anything() -> None:
    clock = Clock()
    sessions = Sessions(clock)
    key = sessions.open("anna")
    for _ in range(3):
        clock.now += 1900
        assert sessions.find(key, acts=False) is None or clock.now < 1000 + 3600
    assert sessions.find(key, acts=True) is None, "what a page asks by itself keeps no session alive"
    busy = sessions.open("berta")
    for _ in range(13):
        clock.now += 3000
        found = sessions.find(busy, acts=True)
    assert (found is not None) == (13 * 3000 <= 12 * 3600)
    clock.now += 12 * 3600
    assert sessions.find(busy, acts=True) is None


def test_each_failure_after_some_makes_the_wait_longer() -> None:
    clock = Clock()
    attempts = Attempts(clock)
    waits = []
    for _ in range(15):
        waits.append(attempts.wait_s("name", "address"))
        clock.now += waits[-1]
        attempts.note("name", "address")
    assert waits[:6] == [0, 0, 0, 0, 0, 2]
    assert waits == sorted(waits)
    assert waits[-1] == 600
    attempts.forget("name", "address")
    assert attempts.wait_s("name") == 0


def test_what_somebody_does_stands_in_the_audit_trail_under_their_name(
    guarded, node, add_measurement
) -> None:
    key = "a" * 64
    add_measurement(node.folder, key)
    with closing(Store(node.layout.job_table)) as store:
        store.quarantine(key, Failure(code="LF-RAW-001", message="m", hint="h", transient=False))
    visit = Visit(guarded)
    visit.login("a-operator")
    assert visit.post(f"/jobs/{key[:12]}/retry", {"token": visit.token("/destinations")}).status == 303
    (path,) = node.layout.audit.iterdir()
    login, deed = (json.loads(line) for line in path.read_text().splitlines())
    assert login["event"]["meaning"] == "User Authentication"
    assert (deed["type"]["code"], deed["outcome"]) == ("retry", 0)
    who = deed["participants"][0]
    assert (who["user"], who["place"], who["requestor"]) == ("a-operator", "127.0.0.1", True)
    assert [subject["id"] for subject in deed["subjects"]] == [key[:12]]
