"""Reports of archives on storage that they were asked to commit to, as the listener gets them."""

from __future__ import annotations

from collections.abc import Callable

from pynetdicom import AE, evt
from pynetdicom.association import Association

from lfmri_node.dicom_io.commitment import PUSH_MODEL, NoReport, read_report
from lfmri_node.dicom_io.raw_data.head import PARSE_ERRORS, TRANSFER_SYNTAXES
from lfmri_node.dicom_io.types import CommitmentReport

OnReport = Callable[[str, CommitmentReport], None]
"""Is told the calling AE title and what it reports, and makes that durable. A `NoReport` that it raises is
answered, and anything else as 0x0110, so that the archive reports again."""
Note = Callable[[Association, str, str], None]


class Reports:
    """Takes the reports of those who may report; where ``on_report`` is None, nobody may."""

    def __init__(self, on_report: OnReport | None, note: Note) -> None:
        self._on_report = on_report
        self._note = note

    def add_context(self, entity: AE) -> None:
        """Let ``entity`` take reports, whether or not the caller says that its role is that of the SCP."""
        if self._on_report is not None:
            entity.add_supported_context(PUSH_MODEL, list(TRANSFER_SYNTAXES), scu_role=True, scp_role=True)

    def received(self, event: evt.Event) -> tuple[int, None]:
        """A report: pass it on and answer."""
        assert self._on_report is not None
        try:
            self._on_report(event.assoc.requestor.ae_title.strip(), _read(event))
        except NoReport as refusal:
            words = f"a report of storage commitment is refused, {refusal.message}"
            self._note(event.assoc, "LF-NET-023", f"{words}; answered 0x{refusal.status:04X}")
            return refusal.status, None
        return 0x0000, None


def _read(event: evt.Event) -> CommitmentReport:
    try:
        return read_report(event.event_type, event.event_information)
    except PARSE_ERRORS:
        raise NoReport(0x0115, "its information cannot be read") from None
