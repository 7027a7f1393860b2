"""What is said of known vulnerabilities, and of those that could not be asked for."""

import pytest
from advisories import verdict

CHECKED = {"name": "a", "version": "1", "vulns": []}
SKIPPED = {"name": "b", "skip_reason": "Dependency not found on PyPI and could not be audited: b (1)"}
VULNERABLE = {"name": "c", "version": "2", "vulns": [{"id": "PYSEC-1"}, {"id": "CVE-2"}]}


@pytest.mark.parametrize(
    ("packages", "said", "status"),
    [
        (None, "not checked for known vulnerabilities: the service cannot be reached", 0),
        ([SKIPPED], "not checked for known vulnerabilities: the service knows none of the packages", 0),
        ([CHECKED, SKIPPED], "1 of 2 packages checked: no known vulnerability", 0),
        ([CHECKED, VULNERABLE, SKIPPED], "known vulnerabilities:\nc 2: PYSEC-1, CVE-2", 1),
    ],
)
def test_what_was_not_checked_is_not_called_safe(packages, said: str, status: int) -> None:
    assert verdict(packages) == (said, status)
