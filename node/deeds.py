"""What an operator does to jobs, from the command line or the console; the audit trail names who did it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from lfmri_node.dicom_io.errors import DicomIoError
from lfmri_node.node import assignments, corrections
from lfmri_node.node.assignments import Assigned
from lfmri_node.node.audit.auditor import Auditor
from lfmri_node.node.audit.messages import Deed, Participant
from lfmri_node.node.config import Config
from lfmri_node.node.corrections import Accepted
from lfmri_node.node.errors import NodeError
from lfmri_node.node.jobs.ledger import Ledger
from lfmri_node.node.jobs.retry import Retried, retry_all, retry_job
from lfmri_node.node.jobs.tables import databases_of
from lfmri_node.node.layout import Layout
from lfmri_node.node.reprocess import Again, Wanted, reprocess
from lfmri_node.node.retention.command import purge_now
from lfmri_node.node.retention.plan import Purge
from lfmri_node.node.whose import whose_job


@dataclass(frozen=True, slots=True, kw_only=True)
class Deeds:
    """Does what it is asked for, and tells the trail; errors are those of what does it.

    A job that does not exist is told to nobody but who asked.
    """

    config: Config
    by: Participant

    def retry(self, name: str) -> str:
        """See `jobs.retry.retry_job`."""
        with self._told(Deed.RETRY, name):
            return retry_job(self.config, name)

    def retry_all(self) -> Retried:
        """See `jobs.retry.retry_all`."""
        retried = retry_all(self.config)
        for name in (*retried.names, *retried.stay):
            self._tell(Deed.RETRY, name, succeeded=name not in retried.stay)
        return retried

    def assign(self, name: str, given: Mapping[str, str]) -> Assigned:
        """See `assignments.assign`."""
        with self._told(Deed.ASSIGN, name):
            return assignments.assign(self.config, name, given)

    def accept(self, name: str) -> Accepted:
        """See `corrections.accept`; told are what follows and what it follows."""
        accepted = corrections.accept(self.config, name)
        for job in (accepted.name, *accepted.firsts):
            self._tell(Deed.ACCEPT, job, succeeded=True)
        return accepted

    def reprocess(self, wanted: Wanted, *, dry_run: bool) -> list[Again]:
        """See `reprocess.reprocess`; told are the measurements that are made again."""
        found = reprocess(self.config, wanted, dry_run=dry_run)
        for again in found if not dry_run else ():
            if not again.why_not:
                self._tell(Deed.REPROCESS, again.name, succeeded=True)
        return found

    def purge(self, *, dry_run: bool) -> tuple[list[Purge], list[Path]]:
        """See `retention.command.purge_now`."""
        return purge_now(self.config, dry_run=dry_run, by=self.by)

    @contextmanager
    def _told(self, deed: Deed, name: str) -> Iterator[None]:
        """Tell of what is done inside, whether it succeeds or is refused."""
        with closing(Ledger(databases_of(self.config).table)) as ledger:
            job = ledger.job(name).name
        try:
            yield
        except (NodeError, DicomIoError):
            self._tell(deed, job, succeeded=False)
            raise
        self._tell(deed, job, succeeded=True)

    def _tell(self, deed: Deed, name: str, *, succeeded: bool) -> None:
        with closing(Ledger(databases_of(self.config).table)) as ledger:
            job = ledger.job(name)
            identity = whose_job(ledger, Layout(root=self.config.node.data_dir), job)
        Auditor(self.config).deed(deed, self.by, job.name, identity, succeeded=succeeded)
