"""Tables, figures and report from made-up rows: what is said must follow from them."""

import csv
import dataclasses
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from lfmri_node.recon.evaluate import aggregate
from lfmri_node.recon.evaluate.aims import Standing, aims
from lfmri_node.recon.evaluate.cases import Case
from lfmri_node.recon.evaluate.evidence import Evidence, RunFacts
from lfmri_node.recon.evaluate.examples import map_examples, reconstruction_examples
from lfmri_node.recon.evaluate.figures import make_figures
from lfmri_node.recon.evaluate.learned import LOWERED, ORACLE, RANDOM
from lfmri_node.recon.evaluate.lesion_metrics import Box
from lfmri_node.recon.evaluate.measured import BRAIN
from lfmri_node.recon.evaluate.measured_tables import brain_table
from lfmri_node.recon.evaluate.methods import BART_WAVELETS, CLASSICAL, Answer
from lfmri_node.recon.evaluate.real_lesions import REAL, STROKES
from lfmri_node.recon.evaluate.report import LIMIT_BYTES, write_report
from lfmri_node.recon.evaluate.rows import Row
from lfmri_node.recon.evaluate.runner import make_tables
from lfmri_node.recon.evaluate.scoring import TRUTH
from lfmri_node.recon.evaluate.sweep import Bench, CaseSource
from lfmri_node.recon.evaluate.table import NOT_RUN, to_markdown, write_csv
from lfmri_node.recon.evaluate.tables import table_1
from lfmri_node.recon.metrics import area_under_curve
from lfmri_node.recon.train.recipes import all_recipes
from lfmri_node.recon.types import CoilMaps, KSpace

N = 32
SUBJECTS = ("a", "b", "c", "d", "e", "f")
KINDS = ("bright", "dark", "oedema", "tear")
LEARNED_OFF = "LF-MRI, lesion term off (retrained)"
LEARNED = {
    "U-Net": 30.0,
    "E2E-VarNet": 33.0,
    LEARNED_OFF: 33.1,
    "LF-MRI, lesion term uniform (retrained)": 33.3,
    "LF-MRI": 33.5,
}


def make_row(method: str, level: float, index: int, acceleration: float, **changes: object) -> Row:
    """A slice of ``SUBJECTS[index // 2 % 6]``; even slices hold a lesion; the level is the PSNR."""
    rng = np.random.default_rng([index, int(acceleration)])
    noise = float(rng.normal())
    positive = index % 2 == 0
    learned = method not in CLASSICAL
    values: dict[str, object] = {
        "dataset": "held-out",
        "method": method,
        "run": method if learned else "",
        "weights": "abc" if learned else "",
        "seed": 0,
        "subject": SUBJECTS[index // 2 % 6],
        "volume": f"{index}",
        "group": "simulated, knee",
        "field_strength_t": 3.0,
        "acceleration": acceleration,
        "sample": f"{index:04d}",
        "label": positive,
        "lesion_kind": KINDS[index // 2 % 4] if positive else "",
        "psnr": level - acceleration / 4 + noise,
        "ssim": 0.9 + 0.001 * (level - 30) + 0.001 * noise,
        "nmse": 0.01,
        "detail_kept": 0.7 + 0.001 * (level - 30),
        "detail_correlation": 0.9,
        "boxes": int(positive),
        "boxes_dropped": 0,
        "lf_psnr": level - 1 + noise if positive else None,
        "lf_ssim": 0.85 + 0.001 * (level - 30) if positive else None,
        "lf_psnr_crop": level - 4 if positive else None,
        "lesion_px": 100 * (1 + index // 2 % 4) if positive else None,
        "lesion_cnr": 1.5 + index // 2 % 4 if positive else None,
        "lf_psnr_outline": level - 2 + noise if positive else None,
        "contrast_kept": 0.8 if positive else None,
        "score": (0.9 if positive else 0.1) if method.startswith("LF-MRI") and "off" not in method else None,
        "pointed": None,
        "pointed_inside": None,
        "iou": None,
        "energy_inside": None,
        "pointing_chance": 0.05 if positive else None,
        "diagnosis_score": 0.5 + 0.4 * (1 if positive else -1),
        "data_residual": 0.05,
        "seconds": 0.1,
    }
    if values["score"] is not None and positive:
        values |= {"pointed": index % 8 != 0, "pointed_inside": False, "energy_inside": 0.5}
        values |= {"iou": tuple(0.5 - abs(0.3 - 0.05 * step) for step in range(1, 20))}
    return Row(**values | changes)


def make_evidence(levels: dict[str, float]) -> Evidence:
    classical = dict(zip(CLASSICAL, (24.0, 27.0, 28.0, 29.0, 28.5, 29.5), strict=True))
    rows = [
        make_row(method, level, index, acceleration)
        for method, level in {TRUTH: 99.0, **classical, **levels}.items()
        for acceleration in (4.0, 8.0)
        for index in range(36)
    ]
    recipes = tuple(all_recipes().values())
    runs = tuple(
        RunFacts(
            recipe=recipe, weights="abc", n_parameters=1_000_000, n_trained=900_000, seconds=100.0, wait_s=1.0
        )
        for recipe in recipes
        if recipe.title in levels
    )
    return Evidence(
        rows=tuple(rows),
        recipes=recipes,
        runs=runs,
        accelerations=(4.0, 8.0),
        seed=0,
        n_slices=36,
        command="lfmri-lab evaluate",
        commit="0123456",
        machine="a machine",
    )


@pytest.fixture(scope="module")
def evidence() -> Evidence:
    return make_evidence(LEARNED)


@pytest.fixture(scope="module")
def tables(evidence):
    return {table.name: table for table in make_tables(evidence)}


def test_a_method_that_was_not_run_says_so_in_every_cell(tables):
    row = next(row for row in tables["table-1"].rows if row.label == "MoDL")
    assert {cell.text for cell in row.cells} == {NOT_RUN}
    assert all(
        {c.text for c in row.cells} == {NOT_RUN} for row in tables["table-6"].rows if "perc" in row.label
    )


def test_every_table_of_the_paper_is_there_with_its_recipes(tables, evidence):
    for number in range(1, 10):
        labels = [row.label for row in tables[f"table-{number}"].rows]
        for title in evidence.titles(number):
            assert any(title in label for label in labels), (number, title)


def test_every_table_says_seed_commit_counts_and_what_is_inserted(tables):
    for name in ("table-1", "table-2", "table-3", "table-7", "lesion-term", "activation-map"):
        notes = " ".join(tables[name].notes)
        slices = 36 if name == "table-2" else 72  # of two accelerations
        assert "Seed 0, commit 0123456" in notes
        assert f"; slices: {slices}; boxes: 36." in notes
        assert "inserted by the project's simulator in 36 slices; real lesions in 0" in notes


def test_means_are_those_of_the_rows(tables, evidence):
    row = next(row for row in tables["table-1"].rows if row.name == "4x, U-Net")
    column = tables["table-1"].columns.index("PSNR, dB") - 1
    expected = np.mean([r.psnr for r in evidence.rows if r.method == "U-Net" and r.acceleration == 4.0])
    assert row.cells[column].value == pytest.approx(expected)
    assert (row.subjects, row.slices, row.boxes) == (6, 36, 18)


def test_bold_only_where_every_interval_of_the_difference_is_above_zero(tables):
    """The made-up methods differ by a constant on each slice: the best one is bold, and no other."""
    column = tables["table-1"].columns.index("PSNR, dB") - 1
    best = [row.name for row in tables["table-1"].rows if row.cells[column].best]
    assert best == ["4x, LF-MRI", "8x, LF-MRI"]


def test_nothing_is_bold_where_the_best_two_cannot_be_told_apart(evidence):
    """The same mean level, the sign of the difference changing from subject to subject."""
    rows = [
        dataclasses.replace(row, psnr=33.5 + (0.6 if row.subject in "abc" else -0.5))
        if row.method == "E2E-VarNet"
        else dataclasses.replace(row, psnr=33.5)
        if row.method == "LF-MRI"
        else row
        for row in evidence.rows
    ]
    table = table_1(dataclasses.replace(evidence, rows=tuple(rows)))[0]
    column = table.columns.index("PSNR, dB") - 1
    assert not any(row.cells[column].best for row in table.rows)


def standings(evidence: Evidence) -> dict[str, Standing]:
    return {aim.statement: aim.standing for aim in aims(evidence)}


def test_aims_follow_from_the_rows(evidence):
    standing = standings(evidence)
    assert standing["Ahead of every learned rival in PSNR, dB at 4x"] is Standing.OPEN  # MoDL was not run
    assert any(s.startswith("Measured brain") and v is Standing.OPEN for s, v in standing.items())
    inside = [v for s, v in standing.items() if s.startswith("Inside")]
    assert inside == [Standing.OPEN] * 4  # C elsewhere was not run


@pytest.mark.parametrize(
    ("off", "elsewhere", "expected"),
    [(33.1, 33.2, Standing.HOLDS), (33.3, 33.2, Standing.SHORT), (33.1, 33.6, Standing.SHORT)],
)
def test_the_lesion_term_must_gain_and_be_ahead_of_an_equal_c_elsewhere(off, elsewhere, expected):
    """LF-MRI stands at 33.5."""
    found = standings(make_evidence(LEARNED | {LEARNED_OFF: off, RANDOM: elsewhere}))
    assert [v for s, v in found.items() if s.startswith("Inside all lesions")] == [expected] * 2


def test_the_map_aims_are_those_of_strokes(evidence):
    rows = [
        make_row(
            "LF-MRI", 33.0, i, 4.0, dataset=REAL, group=STROKES, lesion_kind="real" if i % 2 == 0 else ""
        )
        for i in range(36)
    ]
    found = {a.statement: a for a in aims(dataclasses.replace(evidence, rows=(*evidence.rows, *rows)))}
    pointing = next(aim for s, aim in found.items() if "pointing game" in s)
    assert pointing.standing is Standing.SHORT  # 13 of 18
    assert "chance 0.050" in pointing.evidence


def test_an_aim_holds_where_every_rival_was_run():
    found = {aim.statement: aim for aim in aims(make_evidence(LEARNED | {"MoDL": 33.0, "ISTA-Net+": 32.0}))}
    assert found["Ahead of every learned rival in PSNR, dB at 4x"].standing is Standing.HOLDS


def test_an_aim_falls_short_where_the_rival_is_ahead():
    behind = make_evidence(LEARNED | {"E2E-VarNet": 34.0})
    found = {aim.statement: aim for aim in aims(behind)}
    aim = found["Ahead of every learned rival in PSNR, dB at 8x"]
    assert aim.standing is Standing.SHORT
    assert aim.evidence.startswith("E2E-VarNet -0.50")


def test_volumes_average_errors_not_decibels():
    """Two slices of one volume with mean squared errors 1 and 3 (peak 10): 10 log10(100 / 2)."""
    values = [10 * np.log10(100 / error) for error in (1.0, 3.0)]
    rows = [
        make_row("U-Net", 0.0, i, 4.0, volume="v", psnr=psnr, nmse=0.01 * (1 + 2 * i))
        for i, psnr in enumerate(values)
    ]
    (entry,) = aggregate.entries(rows, aggregate.PSNR)
    assert entry.value == pytest.approx(10 * np.log10(50))
    (nmse,) = aggregate.entries(rows, aggregate.NMSE)
    assert nmse.value == pytest.approx(4.0 / 200.0)  # both slices have the energy 100


def test_the_auc_is_taken_within_runs():
    """Scores of two networks on different scales: each run perfect, pooled they would not be."""
    rows = [
        make_row("LF-MRI", 30.0, i, 4.0, run=run, score=base + 0.1 * (i % 2 == 0))
        for run, base in (("lf-mri", 0.1), ("lf-mri-s1", 0.8))
        for i in range(12)
    ]
    assert aggregate.auc(rows).mean == 1.0


def test_seeds_of_a_recipe_count_once_and_give_the_spread():
    rows = [
        make_row("LF-MRI", 30.0, i, 4.0, run=run, psnr=level + i)
        for run, level in (("lf-mri", 30.0), ("lf-mri-s1", 31.0))
        for i in range(6)
    ]
    found = aggregate.entries(rows, aggregate.PSNR)
    assert [entry.value for entry in found] == [30.5 + i for i in range(6)]
    assert aggregate.spread(rows, aggregate.PSNR) == pytest.approx(np.std([0.0, 1.0], ddof=1))
    assert aggregate.spread(rows[:6], aggregate.PSNR) is None


def test_lesions_stand_in_the_column_of_their_contrast_and_size(tables, evidence):
    table = tables["lesions-inserted-psnr"]
    row = next(row for row in table.rows if row.name == "4x, U-Net")
    column = next(i for i, name in enumerate(table.columns) if name.startswith("CNR 1 to 2")) - 1
    chosen = [
        r.lf_psnr_outline
        for r in evidence.rows
        if (r.method, r.acceleration) == ("U-Net", 4.0) and r.boxes and r.lesion_cnr <= 2
    ]
    assert row.cells[column].value == pytest.approx(np.mean(chosen))
    assert len(table.columns) == 7


def test_the_rows_of_another_c_stand_beside_the_retrained_ones(tables):
    labels = [row.label for row in tables["lesion-term"].rows]
    assert set(labels) >= {"LF-MRI", LEARNED_OFF, ORACLE, RANDOM, LOWERED}
    assert {"parameters", "seconds a slice", "minutes of training"} <= set(tables["lesion-term"].columns)


def test_the_interval_of_the_auc_is_that_of_whole_subjects_drawn_again_and_again():
    rng = np.random.default_rng(5)
    rows = [
        make_row("LF-MRI", 30.0, i, 4.0, score=float(rng.uniform()) + 0.3 * (i % 2 == 0)) for i in range(60)
    ]
    of = {name: [row for row in rows if row.subject == name] for name in SUBJECTS}
    drawn = []
    for _ in range(1500):
        chosen = [row for i in rng.integers(6, size=6) for row in of[SUBJECTS[i]]]
        if 0 < sum(row.label for row in chosen) < len(chosen):
            drawn.append(area_under_curve([row.score for row in chosen], [row.label for row in chosen]))
    found = aggregate.auc(rows)
    assert found.mean == area_under_curve([row.score for row in rows], [row.label for row in rows])
    assert found.interval == pytest.approx(np.quantile(drawn, (0.025, 0.975)), abs=0.03)


def test_failures_are_among_the_examples(evidence):
    rules = {example.rule for example in map_examples(evidence, 4.0)}
    assert any("missed" in rule for rule in rules)
    assert any("false alarm" in rule for rule in rules)
    worst = [e for e in reconstruction_examples(evidence, 4.0) if "worst" in e.rule]
    ours = [r for r in evidence.rows if r.method == "LF-MRI" and r.acceleration == 4.0 and r.boxes]
    assert worst or len(ours) == 1


def fake_case(sample: str, acceleration: float) -> Case:
    rng = np.random.default_rng(int(sample))
    image = rng.random((N, N)).astype(np.complex64)
    return Case(
        dataset="held-out",
        subject="a",
        volume=sample,
        group="simulated, knee",
        field_strength_t=3.0,
        acceleration=acceleration,
        sample=sample,
        kspace=KSpace(data=np.ones((1, N, N), np.complex64), sampled=np.ones(N, dtype=bool)),
        maps=CoilMaps(maps=np.ones((1, N, N), np.complex64), support=np.ones((N, N), dtype=bool)),
        truth=image,
        peak=1.0,
        label=True,
        lesion_kind="bright",
        boxes=(Box(4, 4, 14, 14),),
    )


@dataclasses.dataclass
class Blur:
    name: str
    run: str = ""
    weights: str = ""
    takes_point_masks: bool = True

    def reconstruct(self, case: Case) -> Answer:
        return Answer(image=case.truth * 0.9, score=0.4, activation=np.full((N, N), 0.3, np.float32))


@pytest.fixture(scope="module")
def report(evidence, tables, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("report")
    sources = tuple(
        CaseSource(
            dataset="held-out",
            acceleration=acceleration,
            samples=(),
            load=lambda sample, acceleration=acceleration: fake_case(sample, acceleration),
            search=list,
            setting="fake",
        )
        for acceleration in (4.0, 8.0)
    )
    bench = Bench(sources=sources, learned=lambda _: [Blur(n) for n in LEARNED], diagnosis=lambda _: None)
    drawn = dataclasses.replace(evidence, accelerations=(4.0,))  # matplotlib takes seconds a picture
    pictures = make_figures(drawn, bench, tmp_path_factory.mktemp("runs"), out)
    write_report(evidence, list(tables.values()), pictures, out / "lab-report.html")
    write_csv(list(tables.values()), out / "tables.csv")
    return out


class Sources(HTMLParser):
    """Everything that a page would fetch, and the ids that it links to."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.images_without_words = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.ids += [str(given["id"])] if "id" in given else []
        self.fetched += [str(given["src"])] if "src" in given else []
        if tag == "a":
            self.links.append(str(given["href"]))
        elif "href" in given:
            self.fetched.append(str(given["href"]))
        self.images_without_words += tag == "img" and not given.get("alt")


def test_the_report_is_one_small_file_that_fetches_nothing(report):
    text = (report / "lab-report.html").read_text(encoding="utf-8")
    assert len(text.encode()) < LIMIT_BYTES
    page = Sources()
    page.feed(text)
    assert page.fetched
    assert all(source.startswith("data:image/webp;base64,") for source in page.fetched)
    assert "url(" not in text
    assert "<script" not in text
    assert page.images_without_words == 0
    assert {link.removeprefix("#") for link in page.links} <= set(page.ids)


def test_the_report_begins_with_what_holds_and_what_falls_short(report, evidence):
    text = (report / "lab-report.html").read_text(encoding="utf-8")
    headings = re.findall(r"<h2>(.*?)</h2>", text)
    assert headings[0] == "Summary: what holds and what falls short"
    assert headings[-1] == "Limits"
    for aim in aims(evidence):
        assert aim.standing.value in text
    assert "lfmri-lab evaluate" in text


def test_every_cell_is_in_the_csv(report, tables):
    with (report / "tables.csv").open(newline="") as file:
        found = list(csv.DictReader(file))
    assert len(found) == sum(len(row.cells) for table in tables.values() for row in table.rows)
    numbers = [row for row in found if row["low"]]
    assert all(float(row["low"]) <= float(row["value"]) <= float(row["high"]) for row in numbers)


def test_markdown_has_one_line_a_row(tables):
    text = to_markdown(tables["table-1"])
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len(lines) == len(tables["table-1"].rows) + 2
    assert {line.count("|") for line in lines} == {len(tables["table-1"].columns) + 1}


def test_measured_rows_reach_their_table_and_are_held_against_bart(evidence):
    extra = [
        make_row(method, level, i, 4.0, dataset=BRAIN, sample=f"3 degrees/{i}", boxes=0, lf_psnr=None)
        for method, level in {**LEARNED, BART_WAVELETS: 31.9}.items()
        for i in range(3)
    ]
    both = dataclasses.replace(evidence, rows=(*evidence.rows, *extra))
    table = brain_table(both)
    row = next(row for row in table.rows if row.name == "3 degrees, U-Net")
    column = table.columns.index("PSNR, dB, random 4x") - 1
    assert row.cells[column].value == pytest.approx(np.mean([r.psnr for r in extra if r.method == "U-Net"]))
    found = {aim.statement: aim for aim in aims(both)}
    random_4x = next(aim for s, aim in found.items() if s.startswith("Measured brain, random 4x"))
    assert random_4x.standing is Standing.HOLDS  # + 1.6 dB
    assert "+1.60 dB" in random_4x.evidence
    assert any("equispaced" in s and aim.standing is Standing.OPEN for s, aim in found.items())


def test_the_report_is_made_for_a_phone(report):
    """Width of the device, 16 px text, tables in boxes of their own, pictures that shrink."""
    text = (report / "lab-report.html").read_text(encoding="utf-8")
    assert 'name="viewport" content="width=device-width' in text
    assert "font: 1rem/" in text
    assert text.count("<table") == text.count('<div class="scroll"><table')
    assert "figure img { max-width: 100%; height: auto" in text
