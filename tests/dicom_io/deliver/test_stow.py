"""Delivery by STOW-RS: a real Orthanc, and a scripted HTTP server for what it never does."""

import json
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from email.parser import BytesParser
from pathlib import Path

import pytest
import trustme
from scripted_web import Asked, Said, answering

from lfmri_node.dicom_io.deliver.qido import reach_web
from lfmri_node.dicom_io.deliver.stow import store_instances
from lfmri_node.dicom_io.deliver.web import WebDestination
from lfmri_node.dicom_io.types import EncodedObject

PAGE = b"<!DOCTYPE html><html><body>Log in, SECRET</body></html>"
Script = Callable[[int, list[str]], Said]


def answer(
    stored: list[str] | None = None,
    failed: dict[str, int | None] | None = None,
    warned: dict[str, int] | None = None,
) -> bytes:
    """A Store Instances Response (PS3.18 10.5.3, JSON Model)."""

    def item(uid: str, tag: str, code: int | None) -> dict:
        made = {"00081155": {"vr": "UI", "Value": [uid]}}
        return made if code is None else made | {tag: {"vr": "US", "Value": [code]}}

    said: dict = {"00081190": {"vr": "UR", "Value": ["http://SECRET"]}}
    held = [item(uid, "", None) for uid in stored or []]
    held += [item(uid, "00081196", code) for uid, code in (warned or {}).items()]
    if held:
        said["00081199"] = {"vr": "SQ", "Value": held}
    if failed:
        refused = [item(uid, "00081197", code) for uid, code in failed.items()]
        said["00081198"] = {"vr": "SQ", "Value": refused}
    return json.dumps(said).encode()


@dataclass
class Server:
    """Answers the n-th request as ``script`` says, which gets the SOP Instance UIDs in it."""

    script: Script
    uids: dict[bytes, str] = field(default_factory=dict)
    headers: list[dict[str, str]] = field(default_factory=list)
    requests: list[list[str]] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    url: str = ""

    def knows(self, *objects: EncodedObject) -> None:
        self.uids |= {item.path.read_bytes(): item.sop_instance_uid for item in objects}

    def came(self, headers: dict[str, str], body: bytes) -> Said:
        head = f"Content-Type: {headers['Content-Type']}\r\nMIME-Version: 1.0\r\n\r\n".encode()
        message = BytesParser().parsebytes(head + body)
        assert message.get_content_type() == "multipart/related"
        parts = message.get_payload()
        assert all(part.get_content_type() == "application/dicom" for part in parts)
        boundary = message.get_boundary().encode()
        pieces = [piece.split(b"\r\n\r\n", 1)[1][:-2] for piece in body.split(b"--" + boundary)[1:-1]]
        self.requests.append([self.uids.get(piece, "changed on the way") for piece in pieces])
        self.headers.append(headers)
        self.sizes.append(len(body))
        return self.script(len(self.requests) - 1, self.requests[-1])


@pytest.fixture
def scripted() -> Iterator[Callable[..., tuple[Server, WebDestination]]]:
    with ExitStack() as stack:

        def start(
            script: Script, *objects: EncodedObject, tls: ssl.SSLContext | None = None, **settings: object
        ) -> tuple[Server, WebDestination]:
            there = Server(script)
            there.knows(*objects)

            def respond(request: Asked) -> Said:
                if request.method == "GET":
                    there.headers.append(request.headers)
                    return there.script(-1, [])
                assert request.path == "/dicom-web/studies"
                return there.came(request.headers, request.body)

            there.url = stack.enter_context(answering(respond, tls)) + "/dicom-web"
            made = {"name": "web", "url": there.url + "/", "timeout_s": 5} | settings
            return there, WebDestination(**made)

        yield start


def facts(receipts) -> list[tuple[bool, bool]]:
    assert all("SECRET" not in r.detail and r.detail for r in receipts)
    assert {r.verified for r in receipts} == {None}, "an answer is no proof of what is held"
    return [(r.delivered, r.transient) for r in receipts]


@pytest.mark.integration
def test_orthanc_stores_the_bytes_and_takes_them_again(orthanc, make_image) -> None:
    objects = [make_image(400 + n) for n in range(3)]
    there = WebDestination(
        name="web", url=f"{orthanc.url}/dicom-web", user="lfmri", password="test", max_request_bytes=7000
    )
    assert reach_web(there) is None
    for _ in range(2):
        receipts = list(store_instances(there, objects))
        assert facts(receipts) == [(True, False)] * 3
        assert [r.sop_instance_uid for r in receipts] == [item.sop_instance_uid for item in objects]
    for item in objects:
        found = orthanc.client.instances.lookup(item.sop_instance_uid)
        assert orthanc.client.instances.get_file(found) == item.path.read_bytes()


@pytest.mark.integration
def test_orthanc_refuses_a_wrong_password_and_a_damaged_object_alone(orthanc, make_image) -> None:
    there = WebDestination(name="web", url=f"{orthanc.url}/dicom-web", user="lfmri", password="test")
    wrong = replace(there, password="wrong")
    assert facts(list(store_instances(wrong, [make_image(410)]))) == [(False, False)]
    assert "401" in reach_web(wrong)
    objects = [make_image(411), make_image(412), make_image(413)]
    objects[1].path.write_bytes(b"damaged")
    delivered = [r.delivered for r in store_instances(there, objects)]
    assert delivered == [True, False, True]


def test_202_is_not_success(scripted, make_image) -> None:
    """Each instance by its own entry: stored, refused, refused for now, warned of, not named at all."""
    objects = [make_image(n) for n in range(6)]
    a, b, c, d, e, f = (item.sop_instance_uid for item in objects)
    said = answer(stored=[a, f], failed={b: 0xA900, c: 0xA700, f: None}, warned={d: 0xB007})
    there, destination = scripted(lambda _n, _uids: (202, said), *objects)
    receipts = list(store_instances(destination, objects))
    assert facts(receipts) == [
        (True, False),
        (False, False),
        (False, True),
        (True, False),
        (False, True),
        (False, True),
    ]
    assert [r.dimse_status for r in receipts] == [None, 0xA900, 0xA700, 0xB007, None, None]
    assert "0xB007" in receipts[3].detail
    assert "does not name" in receipts[4].detail
    assert there.requests == [[a, b, c, d, e, f]]


def test_what_stands_in_both_lists_has_failed(scripted, make_image) -> None:
    item = make_image(1)
    said = answer(stored=[item.sop_instance_uid], failed={item.sop_instance_uid: 0xA900})
    _, destination = scripted(lambda _n, _u: (202, said), item)
    assert facts(list(store_instances(destination, [item]))) == [(False, False)]


def test_the_entries_count_whatever_the_status_is(scripted, make_image) -> None:
    objects = [make_image(1), make_image(2)]
    first, second = (item.sop_instance_uid for item in objects)
    said = answer(stored=[first], failed={second: 0x0122})
    for status, expected in ((200, [(True, False), (False, False)]), (409, [(False, True), (False, False)])):
        _, destination = scripted(lambda _n, _u, status=status: (status, said), *objects)
        assert facts(list(store_instances(destination, objects))) == expected


@pytest.mark.parametrize(
    ("said", "transient"),
    [
        ((503, b""), True),
        ((500, PAGE), True),
        ((429, b""), True),
        ((400, PAGE), False),
        ((401, PAGE), False),
        ((403, b""), False),
        ((404, b""), False),
        ((415, b""), False),
        ((501, b""), False),
        ((302, b""), True),
        ((204, b""), True),
        ((200, b""), True),
        ((200, PAGE), True),
        ((202, b"{}"), True),
        ((409, b"{}"), True),
        ((200, b'["SECRET"]'), True),
        ((200, b"[" * 100_000), True),
        ((200, b'{"00081199": {"Value": [{"00081155": {"Value": [7]}}]}}'), True),
        ((200, b'{"00081199": "SECRET", "00081198": {"Value": 3}}'), True),
        ((200, b" " * (17 << 20)), True),
        (None, True),
    ],
)
def test_every_other_answer_gets_a_receipt(scripted, make_image, said, transient: bool) -> None:
    there, destination = scripted(lambda _n, _u: said, make_image(1))
    assert facts(list(store_instances(destination, [make_image(1)]))) == [(False, transient)]
    assert len(there.requests) == 1, "no request is repeated or redirected behind our back"


def test_one_answer_in_a_list_is_an_answer(scripted, make_image) -> None:
    item = make_image(1)
    said = b"[" + answer(stored=[item.sop_instance_uid]) + b"]"
    _, destination = scripted(lambda _n, _u: (200, said), item)
    assert facts(list(store_instances(destination, [item]))) == [(True, False)]


def test_requests_are_bounded_by_bytes(scripted, make_image) -> None:
    objects = [make_image(n) for n in range(5)]
    size = objects[0].path.stat().st_size
    there, destination = scripted(
        lambda _n, uids: (200, answer(stored=uids)), *objects, max_request_bytes=2 * size + 10
    )
    assert facts(list(store_instances(destination, objects))) == [(True, False)] * 5
    assert [len(request) for request in there.requests] == [2, 2, 1]
    there, destination = scripted(lambda _n, uids: (200, answer(stored=uids)), *objects, max_request_bytes=10)
    assert facts(list(store_instances(destination, objects))) == [(True, False)] * 5
    assert [len(request) for request in there.requests] == [1] * 5


def test_a_request_that_is_too_large_is_divided_and_only_what_is_refused_alone_is_refused(
    scripted, make_image
) -> None:
    objects = [make_image(n) for n in range(4)]
    bad = objects[2].sop_instance_uid
    _, destination = scripted(
        lambda _n, uids: (413, b"") if bad in uids else (200, answer(stored=uids)), *objects
    )
    receipts = list(store_instances(destination, objects))
    assert facts(receipts) == [(True, False), (True, False), (False, False), (True, False)]
    assert [r.sop_instance_uid for r in receipts] == [item.sop_instance_uid for item in objects]


@pytest.mark.parametrize("said", [(503, b""), (401, b""), None, (200, PAGE)])
def test_a_server_that_fails_is_not_sent_more(scripted, make_image, said) -> None:
    objects = [make_image(n) for n in range(3)]
    there, destination = scripted(
        lambda n, uids: (200, answer(stored=uids)) if n == 0 else said, *objects, max_request_bytes=1
    )
    receipts = list(store_instances(destination, objects))
    assert [r.delivered for r in receipts] == [True, False, False]
    assert len(there.requests) == 2


def test_silence_ends(make_image) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        there = WebDestination(name="web", url=url, timeout_s=0.3)
        assert facts(list(store_instances(there, [make_image(1)]))) == [(False, True)]
        assert reach_web(there) is not None


def test_nobody_listens(make_image, free_port: int) -> None:
    there = WebDestination(name="web", url=f"http://127.0.0.1:{free_port}")
    assert facts(list(store_instances(there, [make_image(1), make_image(2)]))) == [(False, True)] * 2
    assert reach_web(there) is not None
    assert list(store_instances(there, [])) == []


def test_the_token_is_read_for_each_delivery(scripted, make_image, tmp_path: Path) -> None:
    item, token = make_image(1), tmp_path / "token"
    there, destination = scripted(
        lambda _n, uids: (200, answer(stored=uids)), item, token_file=token, user=None
    )
    assert facts(list(store_instances(destination, [item]))) == [(False, True)]
    assert there.requests == [], "nothing is sent without the token"
    for value in ("first", "second"):
        token.write_text(f"{value}\n")
        assert facts(list(store_instances(destination, [item]))) == [(True, False)]
    assert [head["Authorization"] for head in there.headers] == ["Bearer first", "Bearer second"]


def test_nothing_comes_from_the_environment(scripted, make_image, tmp_path: Path, monkeypatch) -> None:
    """Neither a proxy nor the password of a netrc file."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login SECRET password SECRET\n")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    item = make_image(1)
    there, destination = scripted(lambda _n, uids: (200, answer(stored=uids)), item)
    assert facts(list(store_instances(destination, [item]))) == [(True, False)]
    assert "Authorization" not in there.headers[0]
    assert there.headers[0]["Accept"] == "application/dicom+json"


def test_the_server_is_known_by_its_certificate(scripted, make_image, tmp_path: Path) -> None:
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    item = make_image(1)
    _, destination = scripted(lambda _n, uids: (200, answer(stored=uids)), item, tls=context)
    (receipt,) = store_instances(destination, [item])
    assert not receipt.delivered
    assert "certificate" in receipt.detail
    trusted = replace(destination, ca=tmp_path / "ca.pem")
    assert facts(list(store_instances(trusted, [item]))) == [(True, False)]


@pytest.mark.parametrize("status", [200, 204, 404, 405, 501])
def test_reached_also_where_nothing_can_be_searched(scripted, status: int) -> None:
    _, destination = scripted(lambda _n, _u: (status, b""))
    assert reach_web(destination) is None


@pytest.mark.parametrize("status", [302, 401, 403, 500, 503])
def test_not_reached(scripted, status: int) -> None:
    _, destination = scripted(lambda _n, _u: (status, b""))
    assert str(status) in reach_web(destination)


def test_secrets_are_not_printed() -> None:
    assert "secret" not in repr(WebDestination(name="o", url="http://x", user="u", password="secret"))
