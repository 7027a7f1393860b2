"""For all tests: programs from apt, measured data beside the repository, and what was not run.

A test that uses the fixture `program` is marked ``integration``, one that uses `shared_data` is marked
``shared``. Both are skipped where what they need is missing, and named at the end. With
``LFMRI_REQUIRE_INTEGRATION=1``, which ``make test`` sets where it may install programs, an integration
test that is skipped has failed.
"""

from __future__ import annotations

import os
import shutil
import sys
import threading
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest
from authority import Authority
from hypothesis import HealthCheck, settings
from postgres_cluster import Cluster, running_cluster

settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")  # a busy machine is no failure: speed is measured by the bench
os.environ.setdefault("NUMBA_CACHE_DIR", f"{sys.prefix}/numba")  # not one for each node, compiled anew
os.environ.pop("COLUMNS", None)  # a terminal's, or 80 where files run side by side: what is printed stays

_SYSTEM = "/usr/local/bin:/usr/local/sbin:/usr/bin:/usr/sbin:/bin"
"""Not PATH: the environment holds pynetdicom's scripts under the names of DCMTK's programs."""
_SHARED = Path(__file__).parents[2] / "shared" / "data"
_REQUIRED = os.environ.get("LFMRI_REQUIRE_INTEGRATION") == "1"
_MARKER_OF = {"program": "integration", "shared_data": "shared"}


@pytest.fixture(scope="session")
def program() -> Callable[..., Path]:
    """``program(name, ...)``: path of a program from apt, of the first of these names that is there.

    The test is skipped where none is installed.
    """

    def find(*names: str) -> Path:
        for name in names:
            if path := shutil.which(name, path=_SYSTEM):
                return Path(path)
        pytest.skip(f"{' or '.join(names)} is not installed")

    return find


@pytest.fixture(scope="session")
def postgres(program: Callable[..., Path]) -> Iterator[Cluster]:
    """A PostgreSQL server of the tests' own; a test that ends it starts it again."""
    with running_cluster(program) as running:
        yield running


@pytest.fixture(scope="session")
def shared_data() -> Callable[[str], Path]:
    """``shared_data(name)``: a file of ``../shared/data``; the test is skipped where it is not there."""

    def find(name: str) -> Path:
        path = _SHARED / name
        if not path.exists():
            pytest.skip(f"../shared/data/{name} is not beside the repository")
        return path

    return find


@pytest.fixture(autouse=True, scope="module")
def no_server_is_left() -> Iterator[None]:
    """pynetdicom's server, closed but not shut down, asks a socket that is gone for ever and ever: it takes a
    whole core, and every test after it in this process suffers."""
    before = _servers()
    yield
    assert _servers() <= before, "shut down what start_server() has started"


def _servers() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name.startswith("AcceptorServer@")}


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """A certificate authority that nobody but the test trusts."""
    return Authority(tmp_path / "pki")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for fixture, marker in _MARKER_OF.items():
            if fixture in getattr(item, "fixturenames", ()):
                item.add_marker(marker)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn the skip of an integration test into a failure where integration is required."""
    report = yield
    required = item.get_closest_marker("integration") and not item.get_closest_marker("registry")
    if _REQUIRED and report.skipped and required:
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped, and integration is required here: {_reason(report)}"
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = terminalreporter.stats.get("skipped", [])
    if skipped:
        terminalreporter.section("not run")
    for report in skipped:
        terminalreporter.line(f"{report.nodeid}: {_reason(report)}")


def _reason(report: pytest.TestReport) -> str:
    words = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return words.removeprefix("Skipped: ")
