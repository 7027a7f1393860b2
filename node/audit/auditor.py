"""What the parts of a node tell of themselves becomes lines of the trail."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext

from lfmri_node.dicom_io.deliver.identity import whose
from lfmri_node.dicom_io.raw_data.received import ReceivedMeasurement
from lfmri_node.dicom_io.receive.policy import NODE_NOT_AUTHENTIC
from lfmri_node.dicom_io.types import DeliveryReceipt, EncodedObject, SentQuery
from lfmri_node.node.audit.messages import Deed, Participant, Speaker, destination
from lfmri_node.node.audit.syslog import Forwarder, Repository
from lfmri_node.node.audit.trail import Trail
from lfmri_node.node.backoff import Backoff
from lfmri_node.node.config import Config
from lfmri_node.node.layout import Layout

_RECONNECT = Backoff(base_s=1.0, cap_s=60.0)


class Auditor:
    """Writes the trail of one process; where `[audit]` is off it writes nothing.

    Parameters
    ----------
    worker
        Name of a worker, which keeps a trail of its own: several machines append to no file together.

    Attributes
    ----------
    destinations
        May be replaced at any time, for what is sent from then on.
    """

    def __init__(self, config: Config, *, worker: str = "") -> None:
        self._section = config.audit
        self._folder = Layout(root=config.node.data_dir).audit / worker
        self._speaker = Speaker(ae_title=config.node.ae_title)
        self.destinations = config.destinations
        self._trail = Trail(self._folder if config.audit.enabled else None)

    def forwarder(self) -> AbstractContextManager[object]:
        """Sends the trail on while it is open, where a repository is configured.

        Raises
        ------
        TlsError
            LF-NET-043 a certificate or key cannot be used.
        """
        syslog = self._section.syslog
        if syslog is None or not self._section.enabled:
            return nullcontext()
        tls = syslog.settings()
        tls.context()
        return Forwarder(self._folder, Repository(host=syslog.host, port=syslog.port, tls=tls), _RECONNECT)

    def application(self, *, started: bool) -> None:
        """The node starts, or stops in good order."""
        self._trail.record(self._speaker.application(started=started))

    def network_entry(self, *, attached: bool) -> None:
        """The node can be called, or no more."""
        self._trail.record(self._speaker.network_entry(attached=attached))

    def received(self, measurement: ReceivedMeasurement) -> None:
        """A measurement is in the node's hands."""
        first = measurement.parts[0]
        identity = (first.patient[0], first.study_instance_uid)
        classes = [part.sop_class_uid for part in measurement.parts]
        self._trail.record(self._speaker.received(measurement.calling_ae, identity, classes))

    def transfer(
        self, name: str, objects: Sequence[EncodedObject], receipts: Iterator[DeliveryReceipt]
    ) -> Iterator[DeliveryReceipt]:
        """The receipts of a delivery, told before the first and after the last of them."""
        identity = whose(objects[0].path) if objects else None
        if identity is None:
            yield from receipts
            return
        peer, classes = self._peer(name), {o.sop_instance_uid: o.sop_class_uid for o in objects}
        self._trail.record(self._speaker.begins(peer, identity, list(classes.values())))
        taken: list[str] = []
        try:
            for receipt in receipts:
                if receipt.delivered:
                    taken.append(classes[receipt.sop_instance_uid])
                yield receipt
        finally:
            missing = len(classes) - len(taken)
            self._trail.record(self._speaker.sent(peer, identity, taken, missing=missing))

    def _peer(self, name: str) -> Participant:
        """A destination; by its name alone where it is not in the configuration any more."""
        found = (section for section in self.destinations if section.name == name)
        section = next(found, None)
        return destination(section) if section is not None else Participant(user=name)

    def queried(self, name: str, query: SentQuery, *, answered: bool) -> None:
        """A destination was asked what it has."""
        self._trail.record(self._speaker.queried(self._peer(name), query, answered=answered))

    def refused(self, code: str, message: str, address: str) -> None:
        """The listener turned somebody away; what concerns security is told."""
        if code in NODE_NOT_AUTHENTIC:
            self._trail.record(self._speaker.alert(code, message, address))

    def deed(
        self, deed: Deed, by: Participant | None, job: str, whose: tuple[str, str], *, succeeded: bool
    ) -> None:
        """Somebody did something to a job, or tried; see `Speaker.deed`."""
        self._trail.record(self._speaker.deed(deed, by, job, whose, succeeded=succeeded))

    def login(self, user: str, address: str, *, succeeded: bool) -> None:
        """Somebody gave a name and a password."""
        self._trail.record(self._speaker.login(user, address, succeeded=succeeded))

    def logout(self, user: str, address: str) -> None:
        """Somebody left."""
        self._trail.record(self._speaker.logout(user, address))
