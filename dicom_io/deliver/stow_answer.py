"""What a STOW-RS answer says of each instance (PS3.18 10.5.3, DICOM JSON Model of Annex F).

The status of the answer says little: 202 means that *some* were stored. An instance is delivered when its own
entry says so, and only then.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from lfmri_node.dicom_io.deliver.web import items_of, value_of
from lfmri_node.dicom_io.status import meaning_of

_FAILED, _REFERENCED, _OTHER = "00081198", "00081199", "0008119A"
_INSTANCE, _WARNING, _REASON = "00081155", "00081196", "00081197"
_NOT_NAMED = "the answer does not name this instance"


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What became of one instance.

    Parameters
    ----------
    code
        Failure or Warning Reason (0008,1197), (0008,1196); None where none is given.
    """

    delivered: bool
    detail: str
    transient: bool
    code: int | None = None


class StowAnswer:
    """The Store Instances Response of one request.

    Parameters
    ----------
    content
        Body of the answer.
    all_failed
        The status of the answer says that nothing was stored (409): then nothing counts as delivered.

    Raises
    ------
    ValueError
        It is not the JSON of a data set.
    """

    def __init__(self, content: bytes, *, all_failed: bool) -> None:
        try:
            document = json.loads(content)
        except RecursionError as error:
            raise ValueError("nested too deeply") from error
        if isinstance(document, list) and len(document) == 1:
            document = document[0]
        if not isinstance(document, dict):
            raise ValueError("no data set")
        self._failed = _entries(document, _FAILED, _REASON)
        self._stored = {} if all_failed else _entries(document, _REFERENCED, _WARNING)
        self._others = len(items_of(document, _OTHER))

    def of(self, sop_instance_uid: str) -> Said:
        """What is said of an instance; where both lists name it, that it failed.

        A failure without a reason, like an instance that neither list names, may heal.
        """
        if sop_instance_uid in self._failed:
            return _failed(self._failed[sop_instance_uid])
        if sop_instance_uid not in self._stored:
            others = f"; {self._others} failures without a name" if self._others else ""
            return Said(delivered=False, detail=_NOT_NAMED + others, transient=True)
        warning = self._stored[sop_instance_uid]
        if warning is None:
            return Said(delivered=True, detail="stored", transient=False)
        words = f"stored with warning: 0x{warning:04X} {meaning_of(warning).meaning}"
        return Said(delivered=True, detail=words, transient=False, code=warning)


def _failed(reason: int | None) -> Said:
    if reason is None:
        return Said(delivered=False, detail="refused without a reason", transient=True)
    row = meaning_of(reason)
    # A warning's code, or that of success, among the failures is no refusal that anybody could act on.
    transient = row.transient or row.delivered
    return Said(
        delivered=False, detail=f"refused: 0x{reason:04X} {row.meaning}", transient=transient, code=reason
    )


def _entries(document: dict[str, object], sequence: str, code: str) -> dict[str, int | None]:
    """SOP Instance UID -> the code beside it, for each item of a sequence that is what it should be."""
    found: dict[str, int | None] = {}
    for item in items_of(document, sequence):
        uid, value = value_of(item, _INSTANCE), value_of(item, code)
        if isinstance(uid, str):
            found[uid.strip(" \0")] = value if isinstance(value, int) and 0 <= value <= 0xFFFF else None
    return found
