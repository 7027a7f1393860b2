"""A reload while somebody holds the job table, for longer than the service waits for it."""

import sqlite3
from contextlib import closing

import pytest

from lfmri_node.node.errors import JobError
from lfmri_node.node.jobs.ledger import Ledger
from lfmri_node.node.reload import ask


def test_a_locked_table_leaves_everything_as_it_was(node, pacs, make_scan) -> None:
    node.wait_for_locks(5)
    node.start()
    more = '[[destinations]]\nkind = "dicom"\nname = "second"\nhost = "h"\nport = 1\nae_title = "B"\n'
    node.config.write_text(node.config.read_text().replace("[retry]", f"{more}[retry]"))
    with closing(sqlite3.connect(node.layout.job_table, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(JobError) as caught:
            ask(node.layout)
        other.execute("ROLLBACK")
    assert caught.value.code == "LF-OPS-007"
    node.send(make_scan())
    (job,) = node.wait_finished()
    with closing(Ledger(node.layout.job_table)) as ledger:
        assert [item.destination for item in ledger.shipments(job.key)] == ["pacs"]
    assert ask(node.layout).applied == ("destinations",)
