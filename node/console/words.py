"""How the pages write times, durations, sizes and stages."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, pass_context
from jinja2.runtime import Context
from markupsafe import Markup

from lfmri_node.node.console.quality import place
from lfmri_node.node.jobs.job import ORDER, Job, Stage

_HERE = Path(__file__).parent
_NOTHING = Markup('<span class="nothing">-</span>')


def environment(*, base: str) -> Environment:
    """The templates, autoescaped; a name that is not given is an error.

    Parameters
    ----------
    base
        Path before every address of ours.
    """
    made = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals |= {"base": base, "reached": reached}
    made.filters |= {"at": at, "duration": duration, "size": size, "ago": ago}
    made.filters |= {"place": place}
    return made


def at(moment: datetime | None) -> Markup:
    """A time element: the time of today, the date too where it is another day; UTC."""
    if moment is None:
        return _NOTHING
    utc = moment.astimezone(UTC)
    same_day = utc.date() == datetime.now(UTC).date()
    text = f"{utc:%H:%M:%S}" if same_day else f"{utc.day} {utc:%b %H:%M}"
    template = '<time datetime="{}" title="{} UTC">{}</time>'
    return Markup(template).format(utc.isoformat(timespec="seconds"), f"{utc:%Y-%m-%d %H:%M:%S}", text)


@pass_context
def ago(context: Context, moment: datetime) -> str:
    """How long ago, at the time of the page."""
    return duration(max((context["now"] - moment).total_seconds(), 0.0))


def duration(seconds: float | None) -> str:
    """Two units at most."""
    if seconds is None:
        return "-"
    if seconds < 10:
        return f"{seconds:.2g} s" if seconds < 1 else f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    whole = round(seconds)
    for long, short, unit, sub in ((86400, 3600, "d", "h"), (3600, 60, "h", "min"), (60, 1, "min", "s")):
        if whole >= long:
            return f"{whole // long} {unit} {whole % long // short} {sub}"
    return f"{whole} s"


def size(n_bytes: float) -> str:
    """Decimal units, three digits."""
    for unit, factor in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if n_bytes >= factor:
            return f"{n_bytes / factor:.3g} {unit}"
    return f"{n_bytes:.0f} B"


def reached(job: Job, stage: Stage) -> str:
    """How a stage of the track is drawn: ``done``, ``now``, ``failed`` or ``left``."""
    if job.reached(stage):
        return "done"
    at_stage = job.resume if job.stage is Stage.QUARANTINED else job.stage
    next_one = at_stage is not None and ORDER.index(stage) == ORDER.index(at_stage) + 1
    if not next_one:
        return "left"
    if job.failure is not None:
        return "failed" if job.stage is Stage.QUARANTINED else "waits"
    return "now" if job.running is not None else "next"
