"""The watch over the pages of the other tests here sees what it is there for."""

import pytest


@pytest.mark.parametrize(
    ("script", "complaint"),
    [
        ("console.error('logged by the page')", "logged by the page"),
        ("throw Error('thrown by the page')", "thrown by the page"),
        ("Promise.reject(Error('never caught'))", "never caught"),
    ],
)
def test_errors_of_a_page_are_seen_unless_excused(watched_page, script, complaint):
    for excused, n_complaints in (({}, 1), ({"by the page|never": "of this test"}, 0)):
        page, watch = watched_page(excused)
        page.set_content(f"<script>{script}</script><script>document.title = 'done'</script>")
        page.wait_for_function("document.title == 'done'")
        assert len(watch.complaints) == n_complaints
        assert all(complaint in text for text in watch.complaints)
        assert watch.left_the_machine == []


@pytest.mark.parametrize(
    "content",
    [
        "<img src='http://example.org/elsewhere' onerror='document.title = `done`'>",
        "<script>fetch('https://example.org/elsewhere').catch(() => document.title = 'done')</script>",
        "<script>new WebSocket('ws://example.org/elsewhere').onerror = _ => document.title = 'done'</script>",
    ],
)
def test_what_leaves_the_machine_is_seen_and_reaches_nobody(watched_page, content):
    page, watch = watched_page({"example.org": "of this test"})
    page.set_content(content)
    page.wait_for_function("document.title == 'done'")
    assert [url.split("//")[1] for url in watch.left_the_machine] == ["example.org/elsewhere"]


def test_a_quiet_page_is_no_reason_to_fail(open_page):
    open_page().set_content("<p>nothing</p>")
