"""The address of the viewer: what it serves, and to whom. Without a browser, with a stand-in for Orthanc."""

import json
import socket
import tarfile
import threading
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from lfmri_node.node.errors import NodeError
from lfmri_node.node.viewer import ohif, view
from lfmri_node.node.viewer.front import Front
from lfmri_node.node.viewer.view import shown


class Archive(BaseHTTPRequestHandler):
    """Answers with what it was asked."""

    def do_GET(self) -> None:
        asked = {"path": self.path, "login": self.headers["Authorization"], "host": self.headers["Host"]}
        body = json.dumps(asked).encode()
        if part := self.headers["Range"]:
            self.send_response(206)
            self.send_header("Content-Range", part.replace("=", " ") + f"/{len(body)}")
            body = body[:10]
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def front(tmp_path) -> Iterator[Front]:
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "index.html").write_text("the application")
    (tmp_path / "secret.txt").write_text("not for the browser")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Archive)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        with Front(tmp_path / "files", server.server_address[1], "user:word") as made:
            yield made
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def ask(front: Front, path: str, method: str = "GET", **headers: str) -> tuple[HTTPResponse, bytes]:
    connection = HTTPConnection("127.0.0.1", int(front.url.rsplit(":", 1)[1]))
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer, body


def test_dicomweb_is_passed_on_with_the_login_that_the_browser_never_sees(front):
    answer, body = ask(front, "/dicom-web/studies?limit=1")
    assert answer.status == 200
    asked = json.loads(body)
    assert (asked["path"], asked["login"]) == ("/dicom-web/studies?limit=1", "Basic dXNlcjp3b3Jk")
    assert answer.getheader("Cross-Origin-Embedder-Policy") == "require-corp"


def test_addresses_that_the_archive_writes_into_its_answers_are_those_of_the_front(front):
    """Orthanc makes the address of bulk data, a PDF for one, from the host that it was asked as."""
    _, body = ask(front, "/dicom-web/studies")
    assert json.loads(body)["host"] == front.url.removeprefix("http://")


def test_a_part_of_an_answer_says_which_part(front):
    answer, body = ask(front, "/dicom-web/studies", Range="bytes=0-9")
    assert (answer.status, len(body)) == (206, 10)
    assert answer.getheader("Content-Range").startswith("bytes 0-9/")


def test_an_archive_that_has_gone_is_told_as_a_bad_gateway(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with Front(tmp_path, port, "user:word") as front:
        assert ask(front, "/dicom-web/studies")[0].status == 502


def test_the_rest_of_orthanc_and_every_change_are_out_of_reach(front):
    assert ask(front, "/instances")[1] == b"the application"
    for method in ("POST", "PUT", "DELETE"):
        assert ask(front, "/dicom-web/studies", method)[0].status == 501


@pytest.mark.parametrize("path", ["/../secret.txt", "/%2e%2e/secret.txt", "/..%2fsecret.txt"])
def test_no_path_leads_out_of_the_files(front, path):
    assert b"not for" not in ask(front, path)[1]


def test_a_page_of_another_name_reads_nothing(front):
    """DNS rebinding: the name of the page resolves to loopback, but it is not this address."""
    for path in ("/", "/dicom-web/studies", "/app-config.js"):
        answer, body = ask(front, path, Host="evil.example:80")
        assert answer.status == 421
        assert b"the application" not in body


def test_a_page_of_the_application_is_its_index(front):
    assert ask(front, "/viewer?StudyInstanceUIDs=2.25.1")[1] == b"the application"
    assert ask(front, "/app-config.js")[1].startswith(b"window.config = {")


def test_another_archive_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with tarfile.open(tmp_path / "other.tgz", "w:gz"):
        pass
    with pytest.raises(NodeError) as refused:
        ohif.ohif_files(tmp_path / "other.tgz")
    assert refused.value.code == "LF-CFG-031"
    assert not ohif.cached().exists()


def test_an_archive_that_cannot_be_read_or_fetched_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(ohif, "URL", "http://127.0.0.1:9/app.tgz")  # nobody listens on the port of discard
    for archive in (None, tmp_path / "absent.tgz"):
        with pytest.raises(NodeError) as refused:
            ohif.ohif_files(archive)
        assert refused.value.code == "LF-CFG-030"
    assert not ohif.cached().exists()


def test_without_orthanc_the_viewer_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(view, "find_orthanc", lambda: None)
    with pytest.raises(NodeError) as refused, shown(tmp_path):
        pass
    assert refused.value.code == "LF-CFG-032"
    assert "orthanc" in refused.value.hint


def test_a_folder_without_objects_is_refused_before_anything_is_fetched(tmp_path, monkeypatch, program):
    program("Orthanc")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(NodeError) as refused, shown(tmp_path):
        pass
    assert refused.value.code == "LF-CFG-033"
    assert not (tmp_path / "cache").exists()
