"""The job table in numbers, for monitoring: no names of jobs, nothing of patients."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from lfmri_node.node.jobs import schema
from lfmri_node.node.jobs.job import Stage
from lfmri_node.node.jobs.ledger import Ledger


@dataclass(frozen=True, slots=True, kw_only=True)
class Try:
    """One try of a stage that came to an end; ``outcome`` as in `ledger.Timing`."""

    id: int
    stage: Stage
    outcome: str
    seconds: float | None


class Figures(Ledger):
    """Read-only, as `Ledger`."""

    def quarantined_by_code(self) -> Mapping[str, int]:
        """Code -> jobs in quarantine because of it; those that a corrected scan follows are left out."""
        rows = self._rows("SELECT * FROM jobs WHERE stage='quarantined'")
        jobs = [schema.as_job(row) for row in rows]
        return Counter(job.failure.code for job in jobs if job.failure and not job.superseded)

    def oldest_open(self) -> Mapping[Stage, datetime]:
        """Stage -> when the job was received that has waited longest there; what is finished, in quarantine
        or held until somebody says whose it is does not wait."""
        rows = self._rows(
            "SELECT stage, min(received_at) AS since FROM jobs"
            " WHERE finished_at IS NULL AND stage!='quarantined'"
            " AND NOT (identity='missing' AND stage='reconstructed') GROUP BY stage"
        )
        return {Stage(row["stage"]): datetime.fromisoformat(row["since"]) for row in rows}

    def verdicts(self) -> Mapping[str, int]:
        """Verdict -> scans on record that have it."""
        verdict = self._connection.text_of.format("summary", "verdict")
        rows = self._rows(
            f"SELECT {verdict} AS verdict, count(*) AS n FROM jobs"
            " WHERE contrast IS NOT NULL GROUP BY verdict"
        )
        return {row["verdict"]: row["n"] for row in rows if row["verdict"]}

    def deliveries(self) -> Mapping[tuple[str, str], int]:
        """Destination and ``waiting``, ``refused`` or ``done`` -> how many jobs."""
        rows = self._rows(
            "SELECT destination, count(*) AS n, CASE WHEN finished_at IS NULL THEN 'waiting'"
            " WHEN failure IS NULL THEN 'done' ELSE 'refused' END AS state"
            " FROM deliveries GROUP BY destination, state"
        )
        return {(row["destination"], row["state"]): row["n"] for row in rows}

    def seconds_per_slice(self, method: str, most: int = 200) -> list[float]:
        """Of the latest scans computed with a method: seconds of all stages up to the encoded objects."""
        rows = self._rows(
            "SELECT j.key, j.recipe, j.summary, sum(t.seconds) AS seconds FROM jobs j"
            " JOIN timings t ON t.job_key=j.key AND t.outcome='done' AND t.stage!='sent'"
            " WHERE j.contrast IS NOT NULL AND j.stage IN ('encoded', 'sent', 'verified')"
            " GROUP BY j.key, j.recipe, j.summary, j.received_at ORDER BY j.received_at DESC LIMIT ?",
            most,
        )
        found = []
        for row in rows:
            n_slices = int(json.loads(row["summary"]).get("n_slices", 0))
            if n_slices and json.loads(row["recipe"])["recon"]["method"] == method:
                found.append(row["seconds"] / n_slices)
        return found

    def settled(self) -> int:
        """Number of a try up to which all have come to an end."""
        (row,) = self._rows(
            "SELECT max(id) AS latest, min(CASE WHEN outcome IS NULL THEN id END) AS still_open FROM timings"
        )
        return int(row["still_open"] - 1 if row["still_open"] is not None else row["latest"] or 0)

    def tries_after(self, number: int) -> Sequence[Try]:
        """Those begun after it that have come to an end, in order."""
        rows = self._rows("SELECT * FROM timings WHERE id>? AND outcome IS NOT NULL ORDER BY id", number)
        return [
            Try(id=row["id"], stage=Stage(row["stage"]), outcome=row["outcome"], seconds=row["seconds"])
            for row in rows
        ]
