"""``lab-report.html``: one file, pictures inside, readable on paper and on a phone, in light and dark."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from pathlib import Path

from lfmri_node.recon.errors import LabError
from lfmri_node.recon.evaluate.aggregate import counted
from lfmri_node.recon.evaluate.aims import Aim, Standing, aims
from lfmri_node.recon.evaluate.evidence import SIMULATED, Evidence
from lfmri_node.recon.evaluate.figures import Picture
from lfmri_node.recon.evaluate.simulated import UNSEEN
from lfmri_node.recon.evaluate.style import STYLE
from lfmri_node.recon.evaluate.table import Table, to_html

LIMIT_BYTES = 5_000_000
SECTIONS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("measured-data", "Measured data", ("measured-brain", "measured-other")),
    ("lesions", "Lesions", ("table-2", "lesion-term", "lesions")),
    ("quality", "Image quality", ("table-1", "shipped")),
    ("map", "Activation map", ("activation-map",)),
    ("ablations", "Ablations", ("table-3", "table-4", "table-5", "table-6", "table-8")),
    ("diagnosis", "Diagnosis and field strength", ("table-7", "table-9")),
    ("training", "Training", ("speed",)),
)
"""Anchor, heading and first parts of the names of the tables of each section."""
PICTURES = {"lesions": "reconstruction", "map": "activation", "training": "learning"}
"""First letters of the names of the pictures of each section."""


def write_report(
    evidence: Evidence, tables: Sequence[Table], pictures: Sequence[Picture], path: Path
) -> None:
    """Write the report. Raises LabError (LF-LAB-022) where it would exceed 5 MB."""
    found = aims(evidence)
    body = [
        _head(evidence),
        _summary(evidence, found, pictures),
        *(_section(anchor, heading, names, tables, pictures) for anchor, heading, names in SECTIONS),
        _made(evidence),
        LIMITS,
    ]
    text = (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>LF-MRI laboratory report</title><style>{STYLE}</style></head><body>"
        + "\n".join(body)
        + "</body></html>\n"
    )
    if len(text.encode()) >= LIMIT_BYTES:
        raise LabError(
            "LF-LAB-022",
            f"the report would be {len(text.encode()) / 1e6:.1f} MB",
            "evaluate fewer accelerations in one report",
        )
    path.write_text(text, encoding="utf-8")


def _head(evidence: Evidence) -> str:
    links = "".join(f'<a href="#{anchor}">{html.escape(heading)}</a>' for anchor, heading, _ in SECTIONS)
    subjects, slices, boxes = counted(row for row in evidence.rows if row.dataset in SIMULATED)
    accelerations = " and ".join(f"{acceleration:g}x" for acceleration in evidence.accelerations)
    return f"""<header><h1>LF-MRI: laboratory report</h1>
<p>Reconstruction of {accelerations} undersampled MRI, every method on the same slices, masks and noise:
{subjects} test subjects, {slices} slices, {boxes} lesion boxes. Research use only.</p>
<nav><a href="#summary">Summary</a>{links}<a href="#made">How it was made</a>
<a href="#limits">Limits</a></nav>
</header>"""


_CLASS = {
    Standing.HOLDS: "holds",
    Standing.PARTLY: "partly",
    Standing.SHORT: "short",
    Standing.OPEN: "open",
}


def _summary(evidence: Evidence, found: Sequence[Aim], pictures: Sequence[Picture]) -> str:
    counts = {standing: sum(aim.standing is standing for aim in found) for standing in Standing}
    words = "; ".join(f"{standing.value}: <b>{n}</b>" for standing, n in counts.items() if n)
    ours = html.escape(evidence.ours)
    rows = "\n".join(
        f'<tr><th scope="row">{html.escape(aim.statement)}</th>'
        f'<td class="{_CLASS[aim.standing]}">{aim.standing.value}</td>'
        f"<td>{html.escape(aim.evidence)}</td></tr>"
        for aim in found
    )
    gains = "".join(_picture(picture) for picture in pictures if picture.name == "gains")
    return f"""<section id="summary"><h2>Summary: what holds and what falls short</h2>
<p>{len(found)} stated aims. {words}. Differences are {ours} minus the other method on the same slices,
with the 95 % bootstrap interval by subject; positive favours {ours}.</p>
<div class="scroll"><table class="aims"><thead>
<tr><th scope="col">aim</th><th scope="col">stands</th><th scope="col">figures</th></tr></thead>
<tbody>{rows}</tbody></table></div>{gains}</section>"""


def _section(
    anchor: str, heading: str, names: Sequence[str], tables: Sequence[Table], pictures: Sequence[Picture]
) -> str:
    parts = [f'<section id="{anchor}"><h2>{html.escape(heading)}</h2>']
    for name in names:
        for table in tables:
            if table.name == name:
                parts.append(to_html(table))
            elif table.name.startswith(f"{name}-"):
                title = html.escape(table.title)
                parts.append(f"<details><summary>{title}</summary>{to_html(table)}</details>")
    wanted = PICTURES.get(anchor)
    parts += [_picture(picture) for picture in pictures if wanted and picture.name.startswith(wanted)]
    return "".join(parts) + "</section>"


def _picture(picture: Picture) -> str:
    data = base64.b64encode(picture.path.read_bytes()).decode()
    words = html.escape(picture.alternative, quote=True)
    return (
        f'<figure class="picture"><img alt="{words}" src="data:image/webp;base64,{data}">'
        f"<figcaption>{html.escape(picture.caption)}</figcaption></figure>"
    )


def _made(evidence: Evidence) -> str:
    lambdas = "".join(
        f"<li>{html.escape(setting)}: {html.escape(', '.join(f'{m} {v:g}' for m, v in values.items()))}</li>"
        for setting, values in sorted(evidence.regularisation.items())
    )
    trainings = "".join(
        f"<li>{html.escape(run.recipe.name)}: {html.escape(run.recipe.title)}, "
        f"{run.recipe.steps} steps of {run.recipe.batch}, {run.recipe.n_samples} {run.recipe.source} "
        f"samples, {run.recipe.precision}, seed {run.recipe.seed}, weights {run.weights}</li>"
        for run in evidence.runs
    )
    unseen = counted(row for row in evidence.rows if row.dataset == UNSEEN)[1]
    return f"""<section id="made"><h2>How it was made</h2>
<p><code>{html.escape(evidence.command)}</code></p>
<ul><li>Seed {evidence.seed}; commit {html.escape(evidence.commit)}; {html.escape(evidence.machine)}.</li>
<li>{evidence.n_slices} slices of test subjects for each acceleration, free of line errors, and as many with
those of a real measurement; half of them with an inserted lesion; the truth is free of noise. {unseen} slices
with or without a kind of lesion that no training has shown. Test patients with real lesions, where a lesion's
outline can be seen (contrast above 1) or has a box. No subject is trained, tuned and tested on at once.</li>
<li>Every image is zero where no coil sees anything. Detail: periods of up to 12 px inside the body, size over
the truth's. Runs of one recipe with several seeds count with their mean on each slice.</li>
<li>PSNR and NMSE of a volume, data range its maximum; SSIM with a uniform 7 x 7 window, mean over slices;
LF-PSNR and LF-SSIM inside each box with the volume's data range, boxes grown to the SSIM window, mean over
boxes. Target and reconstruction are never normalised separately.</li>
<li>Intervals: 95 %, percentile bootstrap, whole subjects drawn with replacement. p: Wilcoxon signed-rank on
subject means, stated from six subjects on.</li></ul>
<details><summary>Regularisation of the classical rivals, searched on tuning subjects, of the measured sets on
other masks</summary>
<ul>{lambdas}</ul></details>
<details><summary>Trainings</summary><ul>{trainings}</ul></details></section>"""


LIMITS = """<section id="limits"><h2>Limits</h2><ul>
<li>Most test slices are simulated measurements of vendor-processed magnitude images, resampled below their
acquired resolution: this flatters every learned method. The measured sets are the check.</li>
<li>No knee is held out: the only one is trained on.</li>
<li>There are few subjects. An interval over a handful of subjects is coarse, and the percentile bootstrap is
too narrow for so few.</li>
<li>Strokes are outlined on diffusion images and shown in FLAIR display pictures of 7 bits; a slice without an
outline need not be healthy. The boxes of three patients were drawn by eye, not by a radiologist.</li>
<li>Simulated slices are single-slice volumes.</li>
<li>The rivals are small versions, written for this comparison, at similar parameter counts, equal data and
equal updates: no statement about the published models at their published sizes.</li>
<li>Not a medical device. Nothing here is a statement about patients.</li></ul></section>"""
