"""The job table in numbers, in SQLite and in PostgreSQL alike."""

from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from postgres_cluster import PASSWORD

from lfmri_node.node.jobs.database import PostgresTable, Table
from lfmri_node.node.jobs.figures import Figures
from lfmri_node.node.jobs.job import Failure, Stage
from lfmri_node.node.jobs.store import ScanFound, Store

RECIPE = {"recon": {"method": "cg-sense"}}


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.integration)])
def table(request: pytest.FixtureRequest, tmp_path: Path) -> Table:
    """Two measurements: one of a scan that is decoded, one in quarantine."""
    place: Table = tmp_path / "state" / "node.sqlite"
    if request.param == "postgresql":
        postgres = request.getfixturevalue("postgres")
        postgres.database(tmp_path.name)
        place = PostgresTable(url=postgres.url(tmp_path.name, password=PASSWORD), root=tmp_path)
    part = tmp_path / "part.dcm"
    part.touch()
    with closing(Store(place)) as store:
        for key in ("a" * 64, "b" * 64):
            store.add_measurement(
                key=key,
                source_sha256=key,
                calling_ae="GATEWAY",
                received_at=datetime(2026, 1, 2, tzinfo=UTC),
                recipe=RECIPE,
                parts=[part],
            )
        store.begin("a" * 64, Stage.DECODED)
        scan = ScanFound(key="c" * 64, contrast=0, repetition=0, recipe=RECIPE)
        store.split("a" * 64, [scan], seconds=2.0, learned={"n_slices": 4, "verdict": "TRUSTED"})
        store.quarantine("b" * 64, Failure(code="LF-JOB-023", message="m", hint="h", transient=False))
    return place


def test_numbers_and_clock(table: Table) -> None:
    with closing(Figures(table)) as figures:
        assert figures.quarantined_by_code() == {"LF-JOB-023": 1}
        assert figures.oldest_open() == {Stage.DECODED: datetime(2026, 1, 2, tzinfo=UTC)}
        assert figures.verdicts() == {"TRUSTED": 1}
        assert figures.deliveries() == {}
        assert figures.seconds_per_slice("cg-sense") == []
        assert figures.settled() == 1
        assert [(item.stage, item.outcome) for item in figures.tries_after(0)] == [(Stage.DECODED, "done")]
        assert abs(figures.clock() - datetime.now(UTC)) < timedelta(minutes=1)
        assert [job.key for job in figures.measurements()] == ["a" * 64, "b" * 64]
