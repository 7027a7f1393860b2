"""The command line. Commands import what they need when they run, so that help and ``status`` are quick."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from lfmri_node.node.cli.examples import examples
from lfmri_node.node.cli.offline import convert, orient, reconstruct
from lfmri_node.node.cli.operate import (
    accept,
    assign,
    backup,
    doctor,
    explain,
    purge,
    reload,
    reprocess,
    retry,
    users,
)
from lfmri_node.node.cli.options import (
    Accession,
    ConfigOption,
    Every,
    GatewayAction,
    Group,
    Identity,
    InputFile,
    Job,
    JsonOption,
    Last,
    PacsName,
    PatientId,
    PatientName,
    ShellName,
    StudyUid,
    TlsCa,
    TlsCertificate,
    TlsCrl,
    TlsKey,
    Version,
    ae_title,
    attributes,
    client_tls,
    configuration,
)
from lfmri_node.node.cli.reported import EXIT_ERROR, reported
from lfmri_node.node.files import try_to_write
from lfmri_node.node.terminal.tables import print_json, show

app = typer.Typer(
    name="lfmri-node",
    epilog=examples(""),
    pretty_exceptions_enable=False,
    add_completion=False,
)


@app.callback()
def _common(show_version: Version = False) -> None:
    """Raw k-space in, lesion-focused MR images in a PACS out. Research use only."""


@app.command(epilog=examples("serve"))
def serve(config: ConfigOption = None) -> None:
    """Receive measurements, reconstruct them, deliver the objects. Ctrl-C or SIGTERM drains."""
    settings = configuration(config)
    try_to_write(settings.node.data_dir)
    from lfmri_node.node.service import serve_until_signalled

    serve_until_signalled(settings, reread=lambda: configuration(config))


@app.command(epilog=examples("worker"))
def worker(
    name: Annotated[
        str,
        typer.Option(help="Its own among all that share the jobs, the same after a restart.", metavar="NAME"),
    ],
    config: ConfigOption = None,
) -> None:
    """Compute beside `serve`, on this machine or another one: needs queue.url and the same data directory."""
    if not re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", name):
        raise typer.BadParameter("letters, digits, '_', '.' and '-', at most 64", param_hint="--name")
    settings = configuration(config)
    try_to_write(settings.node.data_dir)
    from lfmri_node.node.compute import compute_until_signalled

    compute_until_signalled(settings, name)


@app.command(epilog=examples("send"))
def send(
    file: InputFile,
    to: Annotated[str, typer.Option(help="The node, as AET@host:port.")],
    calling_ae: Annotated[str, typer.Option(callback=ae_title, help="Our own AE title.")] = "GATEWAY",
    patient_id: PatientId = None,
    patient_name: PatientName = None,
    study_uid: StudyUid = None,
    accession: Accession = None,
    identity: Identity = None,
    group: Group = None,
    tls_ca: TlsCa = None,
    tls_cert: TlsCertificate = None,
    tls_key: TlsKey = None,
    tls_crl: TlsCrl = None,
    json: JsonOption = False,
) -> None:
    """Wrap an ISMRMRD file as Raw Data objects and send them to a node, as a scanner gateway does."""
    from lfmri_node.node.gateway.address import parse_address, require_known_host

    address = parse_address(to, client_tls(tls_ca, tls_cert, tls_key, tls_crl))
    given = attributes(identity, patient_id, patient_name, study_uid, accession)
    require_known_host(address)
    from lfmri_node.node.gateway.send import send_file
    from lfmri_node.node.terminal.steps import Steps

    with Steps() as steps:
        receipts = send_file(file, address, calling_ae=calling_ae, given=given, show=steps.show, group=group)
    if json:
        accepted = [
            {"sop_instance_uid": r.sop_instance_uid, "dimse_status": r.dimse_status} for r in receipts
        ]
        print_json({"ae_title": address.ae_title, "accepted": accepted})
    else:
        typer.echo(f"{len(receipts)} Raw Data object(s) accepted by {address.ae_title}")


@app.command(epilog=examples("gateway"))
def gateway(
    action: Annotated[GatewayAction, typer.Argument(help="watch: send what appears in the folder.")],
    folder: Annotated[Path, typer.Argument(exists=True, file_okay=False, help="The export folder.")],
    to: Annotated[str, typer.Option(help="The node, as AET@host:port.")],
    convert: Annotated[
        str | None, typer.Option(help="Program that makes ISMRMRD of a file: 'command {in} {out}'; no shell.")
    ] = None,
    convert_limit: Annotated[float, typer.Option(min=1.0, help="Seconds it may take for a file.")] = 600.0,
    settle: Annotated[float, typer.Option(min=0.1, help="Seconds that a file must not have changed.")] = 10.0,
    once: Annotated[bool, typer.Option("--once", help="Try every file, and end.")] = False,
    calling_ae: Annotated[str, typer.Option(callback=ae_title, help="Our own AE title.")] = "GATEWAY",
    patient_id: PatientId = None,
    patient_name: PatientName = None,
    study_uid: StudyUid = None,
    accession: Accession = None,
    identity: Identity = None,
    group: Group = None,
    tls_ca: TlsCa = None,
    tls_cert: TlsCertificate = None,
    tls_key: TlsKey = None,
    tls_crl: TlsCrl = None,
    json: JsonOption = False,
) -> None:
    """Watch a scanner's export folder: convert, send, try again while the node is away. Exit 1: failed."""
    from lfmri_node.node.gateway.address import parse_address

    parse_address(to, client_tls(tls_ca, tls_cert, tls_key, tls_crl))
    given = attributes(identity, patient_id, patient_name, study_uid, accession)
    named = {
        "--group": group,
        "--tls-ca": tls_ca,
        "--tls-cert": tls_cert,
        "--tls-key": tls_key,
        "--tls-crl": tls_crl,
    }
    options = ["--to", to, "--calling-ae", calling_ae]
    options += [text for name, value in named.items() if value is not None for text in (name, str(value))]
    from lfmri_node.node.gateway.command import watch_folder

    report = watch_folder(
        folder.absolute(),
        tuple(options),
        given=given,
        convert=convert,
        convert_limit_s=convert_limit,
        settle_s=settle,
        once=once,
    )
    if not report.print(as_json=json, once=once):
        raise typer.Exit(EXIT_ERROR)


for of_a_file in (reconstruct, orient, convert):
    app.command(epilog=examples(of_a_file.__name__))(of_a_file)


@app.command(epilog=examples("status"))
def status(
    job: Job = None,
    last: Last = None,
    watch: Annotated[bool, typer.Option("--watch", help="Again and again, until Ctrl-C.")] = False,
    every: Every = None,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Show jobs by stage, failures with code and hint, and receipts."""
    if every is not None and not watch:
        raise typer.BadParameter("--every belongs to --watch")
    if json and watch:
        raise typer.BadParameter("--watch shows tables: ask again and again with --json, or watch without it")
    from lfmri_node.node.views import Status

    most = last if last is not None else 100 if json else 30
    answer = Status(configuration(config), job=job, most=most)
    if watch:
        from lfmri_node.node.terminal.watch import repeat

        repeat(answer.tables, 2.0 if every is None else every)
    elif json:
        print_json(answer.document())
    else:
        show(*answer.tables())


@app.command(epilog=examples("console"))
def console(config: ConfigOption = None) -> None:
    """Show queue, jobs, images and destinations in a browser, on this machine only. Ctrl-C ends it."""
    from lfmri_node.node.console.serve import serve_console

    serve_console(configuration(config), ready=lambda url: typer.echo(f"console: {url}"))


@app.command(epilog=examples("demo"))
def demo(
    input: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Any ISMRMRD file; a phantom without it.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for everything the demonstration makes.")] = Path(
        "demo-out"
    ),
    pacs: Annotated[PacsName, typer.Option(help="auto: Orthanc where it is installed.")] = "auto",
    seed: Annotated[
        int | None, typer.Option(min=0, help="Of the phantom; without it a usual one of those with a mark.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Start a node and a PACS, send a scan, wait, and check that every object arrived."""
    try_to_write(out)
    from lfmri_node.node.demo.demo import run_demo

    found = run_demo(input, out, pacs=pacs, seed=seed)
    found.print(as_json=json)
    if not found.complete:
        raise typer.Exit(EXIT_ERROR)


@app.command(epilog=examples("viewer"))
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


@app.command(epilog=examples("completion"))
def completion(shell: Annotated[ShellName, typer.Argument(help="Whose.")]) -> None:
    """Print a script that lets a shell complete commands, options and names of jobs at the tab key."""
    from lfmri_node.node.cli.completion import completion_script

    typer.echo(completion_script(app, shell), nl=False)


for command in (retry, accept, assign, purge, doctor, reload, explain, reprocess, backup, users):
    app.command(epilog=examples(command.__name__))(command)


def run(arguments: Sequence[str]) -> int:
    """One command; its exit status: 0 done, 1 failed, 2 wrong usage, 3 refused, 130 ended by Ctrl-C."""
    return reported(lambda: app(arguments, standalone_mode=False), as_json="--json" in arguments)


def main() -> None:
    """The command line."""
    sys.exit(run(sys.argv[1:] or ["--help"]))
