"""Searching a DICOMweb server for what it took: a real Orthanc, and a scripted one for what it never does."""

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from scripted_web import Asked, Said, answering

from lfmri_node.dicom_io.deliver.qido import search_for
from lfmri_node.dicom_io.deliver.stow import store_instances
from lfmri_node.dicom_io.deliver.web import WebDestination

SERIES = "1.2.826.0.1.3680043.8.498.7"


def listing(*uids: object) -> bytes:
    """A list of matches (PS3.18 10.6.3.3, JSON Model)."""
    found = [
        {"0020000E": {"vr": "UI", "Value": [SERIES]}, "00080018": {"vr": "UI", "Value": [uid]}}
        for uid in uids
    ]
    return json.dumps(found).encode()


@dataclass
class Server:
    """Answers each search as ``script`` says, which gets the path and the offset that was asked for."""

    script: Callable[[str, int], Said]
    asked: list[tuple[str, int]] = field(default_factory=list)


@pytest.fixture
def scripted() -> Iterator[Callable[..., tuple[Server, WebDestination]]]:
    with ExitStack() as stack:

        def start(script: Callable[[str, int], Said], **settings: object) -> tuple[Server, WebDestination]:
            there = Server(script)

            def respond(request: Asked) -> Said:
                assert request.headers["Accept"] == "application/dicom+json"
                asked = urlsplit(request.path)
                at = int(parse_qs(asked.query).get("offset", ["0"])[0])
                there.asked.append((asked.path, at))
                return there.script(asked.path, at)

            url = stack.enter_context(answering(respond)) + "/dicom-web/"
            return there, WebDestination(**{"name": "web", "url": url, "timeout_s": 5} | settings)

        yield start


@pytest.mark.integration
def test_orthanc_lists_what_it_holds_and_not_what_it_has_lost(orthanc, make_image) -> None:
    objects = [make_image(600 + n) for n in range(4)]
    there = WebDestination(name="web", url=f"{orthanc.url}/dicom-web", user="lfmri", password="test")
    assert search_for(there, objects[3:]).found.isdisjoint({objects[3].sop_instance_uid})
    assert all(receipt.delivered for receipt in store_instances(there, objects[:3]))
    first, lost, third, never = (item.sop_instance_uid for item in objects)
    orthanc.client.instances.delete(orthanc.client.instances.lookup(lost))
    asked = search_for(there, objects)
    assert asked.answered
    assert asked.found & {first, lost, third, never} == {first, third}


@pytest.mark.integration
def test_orthanc_says_no_to_a_wrong_password(orthanc, make_image) -> None:
    there = WebDestination(name="web", url=f"{orthanc.url}/dicom-web", user="lfmri", password="wrong")
    asked = search_for(there, [make_image(610)])
    assert (asked.answered, asked.offered, asked.detail) == (False, False, "HTTP 401")


def test_the_series_is_asked_for(scripted, make_image, source) -> None:
    objects = [make_image(n) for n in range(3)]
    a, b, c = (item.sop_instance_uid for item in objects)
    there, destination = scripted(lambda _path, at: (200, listing(*(() if at else (a, "1.2.3.4", c)))))
    asked = search_for(destination, objects)
    assert asked.answered
    assert asked.found & {a, b, c} == {a, c}
    place = f"/dicom-web/studies/{source['StudyInstanceUID']}/series/{SERIES}/instances"
    assert there.asked == [(place, 0), (place, 3)], "what is missing may stand on another page"


def test_pages_are_turned_until_everything_is_found(scripted, make_image) -> None:
    objects = [make_image(n) for n in range(7)]
    uids = [item.sop_instance_uid for item in objects]
    there, destination = scripted(lambda _path, at: (200, listing(*uids[at : at + 2])))
    assert search_for(destination, objects).found == frozenset(uids)
    assert [at for _, at in there.asked] == [0, 2, 4, 6]


def test_a_server_that_knows_no_pages_is_asked_twice_at_most(scripted, make_image) -> None:
    objects = [make_image(n) for n in range(3)]
    there, destination = scripted(lambda _path, _at: (200, listing(objects[0].sop_instance_uid)))
    assert search_for(destination, objects).found == {objects[0].sop_instance_uid}
    assert len(there.asked) == 2


@pytest.mark.parametrize("said", [(204, b""), (200, b"[]")])
def test_nothing_found(scripted, make_image, said) -> None:
    _, destination = scripted(lambda _path, _at: said)
    asked = search_for(destination, [make_image(1)])
    assert (asked.answered, asked.found) == (True, frozenset())


def test_404_is_an_empty_answer_of_who_searches_and_none_of_who_does_not(scripted, make_image) -> None:
    _, searches = scripted(lambda path, _at: (404, b"") if "series" in path else (200, b"[]"))
    asked = search_for(searches, [make_image(1)])
    assert (asked.answered, asked.found) == (True, frozenset())
    _, stores = scripted(lambda _path, _at: (404, b""))
    asked = search_for(stores, [make_image(1)])
    assert (asked.answered, asked.offered) == (False, False)


@pytest.mark.parametrize(
    ("said", "offered"),
    [
        ((400, b""), False),
        ((401, b""), False),
        ((403, b""), False),
        ((405, b""), False),
        ((413, b""), False),
        ((501, b""), False),
        ((429, b""), True),
        ((500, b"SECRET"), True),
        ((503, b""), True),
        ((302, b""), True),
        ((206, b"[]"), True),
        ((200, b"<html>SECRET</html>"), True),
        ((200, b'{"SECRET": 1}'), True),
        ((200, b"[" * 100_000), True),
        ((200, b" " * (17 << 20)), True),
        (None, True),
    ],
)
def test_every_other_answer_is_none(scripted, make_image, said, offered: bool) -> None:
    there, destination = scripted(lambda _path, _at: said)
    asked = search_for(destination, [make_image(1)])
    assert (asked.answered, asked.offered, asked.transient) == (False, offered, offered)
    assert asked.detail
    assert "SECRET" not in asked.detail
    assert asked.found == frozenset()
    assert len(there.asked) == 1, "nothing is repeated or followed behind our back"


@pytest.mark.parametrize("item", [7, "x", {}, {"00080018": {}}, {"00080018": {"Value": [7]}}, [[]]])
def test_matches_that_name_nothing_are_none(scripted, make_image, item) -> None:
    _, destination = scripted(lambda _path, _at: (200, json.dumps([item]).encode()))
    asked = search_for(destination, [make_image(1)])
    assert (asked.answered, asked.found) == (True, frozenset())


def test_silence_ends_and_nobody_is_asked_for_files_that_are_gone(make_image, free_port: int) -> None:
    item = make_image(1)
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        asked = search_for(WebDestination(name="web", url=url, timeout_s=0.3), [item])
        assert (asked.answered, asked.offered, asked.transient) == (False, True, True)
    item.path.unlink()
    nobody = WebDestination(name="web", url=f"http://127.0.0.1:{free_port}")
    assert not search_for(nobody, [item]).offered


def test_without_its_token_nothing_is_asked(scripted, make_image, tmp_path: Path) -> None:
    there, destination = scripted(lambda _path, _at: (200, b"[]"), token_file=tmp_path / "absent")
    assert search_for(destination, [make_image(1)]).transient
    assert there.asked == []
