"""What the console, `status` and `purge` say of scans of nobody and of streams that were cut, and delete."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import islice

import pytest
from mrd_client import Sender, messages, stream
from open_doors import MRD, port_of

from lfmri_node.node.config import load
from lfmri_node.node.doors.streams import kept_streams
from lfmri_node.node.jobs.purges import Purges, What
from lfmri_node.node.retention import purge as purging

ANY_PORT = "[console]\nport = 0\n"
LIMITS = "[retention]\nraw_days = 0\nresults_days = 0\nquarantined_days = 0\nrecords_days = 0\n"


@pytest.fixture
def both(node, make_scan):
    """A node with one scan of nobody, reconstructed, and one stream without its close message."""
    node.configure(ANY_PORT + MRD)
    node.start()
    with Sender(port_of(node)) as sender:
        sender.say(*islice(messages(make_scan("cut.h5", seed=1)), 20))
        sender.leave()
        assert sender.answer()[0]["error"]["code"] == "LF-DOR-001"
    said, _ = stream(port_of(node), make_scan())
    assert said["held"]
    node.wait_for(lambda jobs: any(job.is_held for job in jobs))
    return node


def command(node, *words: str) -> dict:
    line = [sys.executable, "-m", "lfmri_node.node.cli", *words, "--json", "--config", str(node.config)]
    return json.loads(subprocess.run(line, capture_output=True, text=True, check=True).stdout)


def test_they_stand_in_the_queue_and_in_status(both, start_console) -> None:
    (held,) = [job for job in both.jobs() if job.is_held]
    (note,) = kept_streams(both.layout.spool)
    page = start_console(both.config).ask("/").text
    for words in ("held until somebody says whose they are", held.name, "Streams that are no job"):
        assert words in page
    for words in (note.name[:12], "SCANNER", "LF-DOR-001", f">{note.n_acquisitions}<"):
        assert words in page
    status = command(both, "status")
    assert [(each["job"], each["held"]) for each in status["jobs"]] == [(held.key, True)]
    assert [(each["code"], each["n_acquisitions"]) for each in status["streams"]] == [("LF-DOR-001", 18)]


def test_only_the_stream_goes_and_only_by_its_own_limit(both) -> None:
    later = datetime.now(UTC) + timedelta(days=40)
    both.stop()
    for path in (both.layout.spool / "streams").iterdir():
        os.utime(path, (time.time() - 86_400,) * 2)
    assert due(both, LIMITS + "max_total_gb = 0.000001", later) == []
    assert due(both, f"{LIMITS}incomplete_days = 41", later) == []
    (purge,) = due(both, f"{LIMITS}incomplete_days = 39", later)
    assert purge.what is What.PARTS
    with closing(Purges(both.layout.job_table)) as store:
        assert purging.carry_out(store, both.layout, purge)
    assert kept_streams(both.layout.spool) == []
    both.configure(MRD)
    both.start()
    (job,) = both.jobs()
    assert job.is_held
    who = both.folder / "who.toml"
    who.write_text('PatientID = "4711"\nPatientName = "A^B"\nStudyInstanceUID = "2.25.4711"\n')
    command(both, "assign", job.name, "--identity", str(who))
    both.wait_finished()


def due(node, text: str, at: datetime) -> list:
    node.configure(text)
    with closing(Purges(node.layout.job_table)) as store:
        return purging.decide(store, load(node.config), at)
