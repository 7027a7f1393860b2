"""The command line. Commands import what they need when they run, so that help and ``status`` are quick."""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from lfmri_node.node.config import Config

MethodName = Literal["lf-mri", "wavelet", "l1-wavelet", "cg-sense", "zero-filled"]
PacsName = Literal["auto", "orthanc", "embedded"]

EXIT_ERROR = 1
EXIT_USAGE = 2
EXIT_REFUSED = 3

# typer keeps the base of its errors of usage to itself; in its older versions it is click's.
UsageError: Any = typer.BadParameter.__base__

app = typer.Typer(
    name="lfmri-node",
    pretty_exceptions_enable=False,
    add_completion=False,
)

ConfigOption = Annotated[
    Path | None, typer.Option("--config", "-c", help="Configuration; config.toml here if it is there.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Machine-readable answer on stdout.")]
InputFile = Annotated[Path, typer.Argument(exists=True, dir_okay=False, readable=True)]
PatientId = Annotated[
    str | None,
    typer.Option(envvar="LFMRI_PATIENT_ID", help="PatientID, over what the file says; see --identity."),
]
PatientName = Annotated[
    str | None, typer.Option(envvar="LFMRI_PATIENT_NAME", help="PatientName, as Family^Given.")
]
StudyUid = Annotated[
    str | None,
    typer.Option("--study-uid", envvar="LFMRI_STUDY_UID", help="StudyInstanceUID to add to."),
]
Accession = Annotated[
    str | None, typer.Option("--accession", envvar="LFMRI_ACCESSION", help="AccessionNumber.")
]
Identity = Annotated[
    Path | None,
    typer.Option(
        "--identity",
        help='TOML file of DICOM attributes (PatientID = "..."), - for standard input: options'
        " themselves can be read in the list of processes.",
    ),
]
Group = Annotated[str | None, typer.Option("--group", help="HDF5 group that holds the measurement.")]


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"lfmri-node {version('lfmri-node')}")
        raise typer.Exit


@app.callback()
def _common(
    show_version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Name and version, and end."),
    ] = False,
) -> None:
    """Raw k-space in, lesion-focused MR images in a PACS out. Research use only."""


def _config(path: Path | None) -> Config:
    from lfmri_node.node.config import DEFAULT_FILE, from_document, load

    if path is None and not DEFAULT_FILE.exists():
        return from_document({}, base=Path.cwd(), name="defaults")
    return load(path or DEFAULT_FILE)


def _given(
    identity: Path | None,
    patient_id: str | None,
    patient_name: str | None,
    study_uid: str | None,
    accession: str | None,
) -> dict[str, str]:
    from lfmri_node.node.gateway.identity import read_identity

    options = {
        "PatientID": patient_id,
        "PatientName": patient_name,
        "StudyInstanceUID": study_uid,
        "AccessionNumber": accession,
    }
    return read_identity(identity, options)


@app.command()
def serve(config: ConfigOption = None) -> None:
    """Receive measurements, reconstruct them, deliver the objects. Ctrl-C or SIGTERM drains."""
    from lfmri_node.node.service import serve_until_signalled

    serve_until_signalled(_config(config))


@app.command()
def send(
    file: InputFile,
    to: Annotated[str, typer.Option(help="The node, as AET@host:port.")],
    calling_ae: Annotated[str, typer.Option(help="Our own AE title.")] = "GATEWAY",
    patient_id: PatientId = None,
    patient_name: PatientName = None,
    study_uid: StudyUid = None,
    accession: Accession = None,
    identity: Identity = None,
    group: Group = None,
) -> None:
    """Wrap an ISMRMRD file as Raw Data objects and send them to a node, as a scanner gateway does."""
    from lfmri_node.node.gateway.send import parse_address, send_file
    from lfmri_node.node.terminal import Steps

    address = parse_address(to)
    given = _given(identity, patient_id, patient_name, study_uid, accession)
    with Steps() as steps:
        n_parts = send_file(file, address, calling_ae=calling_ae, given=given, show=steps.show, group=group)
    typer.echo(f"{n_parts} Raw Data object(s) accepted by {address.ae_title}")


@app.command()
def reconstruct(
    file: InputFile,
    out: Annotated[Path, typer.Option(file_okay=False, help="Folder for *.dcm and *.png.")],
    config: ConfigOption = None,
    method: Annotated[MethodName | None, typer.Option(help="Instead of recon.method.")] = None,
    weights: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Weights of your own.")
    ] = None,
    calling_ae: Annotated[str, typer.Option(help="Read it as if this gateway had sent it.")] = "",
    patient_id: PatientId = None,
    patient_name: PatientName = None,
    study_uid: StudyUid = None,
    accession: Accession = None,
    identity: Identity = None,
    group: Group = None,
    json: JsonOption = False,
) -> None:
    """Reconstruct one file offline into DICOM objects and pictures. Exit 3: refused, nothing written."""
    from lfmri_node.node.files import try_to_write
    from lfmri_node.node.worker.process import PATIENT_THREADS

    try_to_write(out)
    for name, value in PATIENT_THREADS.items():
        os.environ.setdefault(name, value)  # read by the OpenMP runtime when torch is imported
    from lfmri_node.node.offline.view import print_outcomes, run_offline

    outcomes = run_offline(
        file,
        out,
        _config(config),
        method=method,
        weights=weights,
        calling_ae=calling_ae,
        given=_given(identity, patient_id, patient_name, study_uid, accession),
        group=group,
    )
    print_outcomes(outcomes, out, as_json=json)


@app.command()
def orient(
    file: InputFile,
    like: Annotated[
        Path | None, typer.Option(exists=True, help="The scanner's DICOM magnitude images of the same scan.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for a picture of all conventions.")] = None,
    config: ConfigOption = None,
    calling_ae: Annotated[
        str, typer.Option(help="AE title of the gateway that sends such files.")
    ] = "GATEWAY",
    json: JsonOption = False,
) -> None:
    """Find sign and flips of a scanner's k-space: compare with its own images. Exit 3: they do not decide."""
    from lfmri_node.node.offline.orient import orient_file
    from lfmri_node.node.offline.view import print_findings

    if like is None and out is None:
        raise typer.BadParameter("give --like, --out, or both")
    found = orient_file(file, like, out, _config(config), calling_ae)
    print_findings(found, as_json=json)
    if (refusal := found.refusal()) is not None:
        raise refusal


@app.command()
def convert(
    source: InputFile,
    out: Annotated[Path, typer.Option(dir_okay=False, help="ISMRMRD file to write.")],
    accel: Annotated[float, typer.Option(min=1.0, help="Acceleration of the random line mask.")] = 4.0,
    seed: Annotated[int, typer.Option(help="Seed of the mask.")] = 0,
    center_fraction: Annotated[float | None, typer.Option(help="Fully sampled centre.")] = None,
    key: Annotated[str | None, typer.Option(help="Which array or flip angle of the npz.")] = None,
) -> None:
    """Convert arrays of measured k-space (npz) to ISMRMRD, with the truth beside it where it is known."""
    from lfmri_node.recon.phantom.convert import convert_npz

    done = convert_npz(source, out, accel=accel, seed=seed, center_fraction=center_fraction, key=key)
    typer.echo(f"{done.path}: acceleration {done.acceleration:.2f}")
    typer.echo(f"{done.truth}: truth" if done.truth else "no truth: the input is not fully sampled")


@app.command()
def status(
    job: Annotated[str | None, typer.Argument(help="First digits of a job; all jobs without it.")] = None,
    last: Annotated[
        int, typer.Option(min=0, help="How many jobs: unfinished before finished, the latest; 0 all.")
    ] = 100,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Show jobs by stage, failures with code and hint, and receipts."""
    from lfmri_node.node import views
    from lfmri_node.node.jobs.ledger import Ledger
    from lfmri_node.node.layout import Layout
    from lfmri_node.node.lock import holder
    from lfmri_node.node.terminal import print_json

    settings = _config(config)
    layout = Layout(root=settings.node.data_dir)
    ledger = Ledger(layout.job_table)
    process = holder(layout.state)
    if job is not None:
        found = ledger.job(job)
        if json:
            print_json(views.job_document(ledger, found))
        else:
            views.print_job(ledger, found, serving=process is not None)
    elif json:
        document = views.status_document(ledger, process=process, port=settings.listener.port, most=last)
        print_json(document | {"incomplete": views.incomplete_document(layout.spool)})
    else:
        views.print_status(ledger, process=process, most=last)
        views.print_incomplete(layout.spool)


@app.command()
def retry(
    job: Annotated[
        str | None, typer.Argument(help="First digits of a job; all quarantined without it.")
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Put quarantined or waiting jobs back to work at their last stage."""
    from lfmri_node.node.jobs.retry import retry_jobs

    for name in retry_jobs(_config(config), job):
        typer.echo(f"{name}: back to work")


@app.command()
def accept(
    scan: Annotated[
        str | None, typer.Argument(help="First digits of a refused scan; a list of them without it.")
    ] = None,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Let a corrected scan, which was refused, follow the first; names what of the first was delivered."""
    from lfmri_node.node import corrections, views

    settings = _config(config)
    if scan is None:
        views.print_corrections(corrections.corrections(settings), as_json=json)
    else:
        views.print_accepted(corrections.accept(settings, scan), as_json=json)


@app.command()
def console(config: ConfigOption = None) -> None:
    """Show queue, jobs, images and destinations in a browser, on this machine only. Ctrl-C ends it."""
    from lfmri_node.node.console.serve import serve_console

    serve_console(_config(config), ready=lambda url: typer.echo(f"console: {url}"))


@app.command()
def purge(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what would go, and why.")] = False,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Delete what the limits of [retention] give free; the service does the same every hour."""
    from lfmri_node.node import views
    from lfmri_node.node.retention.command import purge_now
    from lfmri_node.node.terminal import print_json

    purges, refused = purge_now(_config(config), dry_run=dry_run)
    if json:
        print_json(views.purge_document(purges, refused, dry_run=dry_run))
    else:
        views.print_purges(purges, refused, dry_run=dry_run)


@app.command()
def doctor(config: ConfigOption = None, json: JsonOption = False) -> None:
    """Check configuration, weights, disk, ports, destinations, dciodvfy, clock and lock."""
    from lfmri_node.node.doctor import examine, print_findings

    findings = examine(lambda: _config(config))
    if not print_findings(findings, as_json=json):
        raise typer.Exit(EXIT_ERROR)


@app.command()
def demo(
    input: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Any ISMRMRD file; a phantom without it.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for everything the demonstration makes.")] = Path(
        "demo-out"
    ),
    pacs: Annotated[PacsName, typer.Option(help="auto: Orthanc where it is installed.")] = "auto",
    seed: Annotated[
        int | None, typer.Option(help="Of the phantom; one with the usual figures without it.")
    ] = None,
) -> None:
    """Start a node and a PACS, send a scan, wait, and check that every object arrived."""
    from lfmri_node.node.demo.demo import run_demo

    if not run_demo(input, out, pacs=pacs, seed=seed):
        raise typer.Exit(EXIT_ERROR)


@app.command()
def viewer(
    folder: Annotated[
        Path, typer.Argument(exists=True, file_okay=False, help="Holds DICOM objects, at any depth.")
    ],
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of loopback; 0 takes a free one.")] = 0,
    ohif: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="OHIF's archive, where it cannot be fetched."),
    ] = None,
    browser: Annotated[bool, typer.Option("--browser", help="Open the first study in the browser.")] = False,
) -> None:
    """Show DICOM objects in OHIF before an Orthanc of our own, on loopback, until Ctrl-C."""
    from lfmri_node.node.viewer.view import show_until_signalled

    show_until_signalled(folder, archive=ohif, port=port, browser=browser)


def main() -> None:
    """Run the command line. Exit 0 done, 1 failed, 2 wrong usage, 3 refused."""
    arguments = sys.argv[1:] or ["--help"]
    sys.exit(reported(lambda: app(arguments, standalone_mode=False)))


def reported(run: Callable[[], object]) -> int:
    """Run; turn our errors into one line with code and hint, and an exit status."""
    from lfmri_node.dicom_io.errors import DicomIoError
    from lfmri_node.node.errors import NodeError, StageFailed, Undecided, damaged_database
    from lfmri_node.node.terminal import print_error
    from lfmri_node.recon.errors import ReconError, UnsupportedAcquisition

    try:
        status = run()
    except UsageError as error:
        command = error.ctx.command_path if error.ctx else app.info.name
        text = error.format_message().rstrip(".")
        print_error("LF-CFG-011", text, f"`{command} --help` lists what the command takes")
        return EXIT_USAGE
    except (NodeError, ReconError, DicomIoError) as error:
        print_error(error.code, error.message, error.hint)
        refused = isinstance(error, UnsupportedAcquisition | Undecided) or (
            isinstance(error, StageFailed) and error.refused
        )
        return EXIT_REFUSED if refused else EXIT_ERROR
    except sqlite3.Error as error:
        damage = damaged_database(error)
        print_error(damage.code, damage.message, damage.hint)
        return EXIT_ERROR
    except OSError as error:
        named = f" ({error.filename})" if error.filename else ""
        text = os.strerror(error.errno) if error.errno else "input or output failed"
        print_error("LF-CFG-010", f"{text}{named}", "check the path, its permissions and the free space")
        return EXIT_ERROR
    return status if isinstance(status, int) else 0


if __name__ == "__main__":
    main()
