"""Options that several commands share, and what is read from them before anything else happens."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from lfmri_node.dicom_io.ae_title import require_ae_title

if TYPE_CHECKING:
    from lfmri_node.dicom_io.tls import ClientTls
    from lfmri_node.node.config import Config


def _print_version(wanted: bool) -> None:
    if wanted:
        from lfmri_node.node.cli.about import about

        typer.echo(about())
        raise typer.Exit


Version = Annotated[
    bool,
    typer.Option(
        "--version", callback=_print_version, is_eager=True, help="Version, commit, Python; and end."
    ),
]
MethodName = Literal["lf-mri", "wavelet", "l1-wavelet", "cg-sense", "zero-filled"]
DeviceName = Literal["auto", "cpu", "cuda"]
GatewayAction = Literal["watch"]
PacsName = Literal["auto", "orthanc", "embedded"]
ShellName = Literal["bash", "zsh"]
RoleName = Literal["viewer", "operator", "admin"]

ConfigOption = Annotated[
    Path | None, typer.Option("--config", "-c", help="Configuration; config.toml here if it is there.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document on stdout, errors too.")]
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
Weights = Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="Weights of your own.")]
Job = Annotated[str | None, typer.Argument(help="First digits of a job; all jobs without it.")]
Held = Annotated[str | None, typer.Argument(help="First digits of a job; all quarantined without it.")]
Unassigned = Annotated[
    str | None, typer.Argument(help="First digits of a held job; a list of them without it.")
]
Assigned = Annotated[
    Path | None,
    typer.Option(
        "--identity", help='TOML file of DICOM attributes (PatientID = "..."), or -: standard input.'
    ),
]
Refused = Annotated[
    str | None, typer.Argument(help="First digits of a refused scan; a list of them without it.")
]
UserName = Annotated[str | None, typer.Argument(help="Of a user of the console; a list of them without it.")]
UserRole = Annotated[
    RoleName | None,
    typer.Option(
        "--role", help="Add NAME with this role, or change it; the password is asked for, or read from stdin."
    ),
]
UserRemoved = Annotated[bool, typer.Option("--remove", help="Take NAME out; their sessions end at once.")]
NoPassword = Annotated[
    bool, typer.Option("--no-password", help="With --role: for who logs in at a proxy (console.user_header).")
]
Last = Annotated[
    int | None,
    typer.Option(
        min=0,
        help="How many jobs: unfinished before finished, the latest; 0 all; without it 30, in JSON 100.",
    ),
]
Every = Annotated[
    float | None, typer.Option(min=0.1, help="Seconds between two looks of --watch; 2 without it.")
]
Group = Annotated[str | None, typer.Option("--group", help="HDF5 group that holds the measurement.")]


TlsCa = Annotated[
    Path | None,
    typer.Option(
        "--tls-ca", exists=True, dir_okay=False, help="Speak TLS; who signs the node's certificate."
    ),
]
TlsCertificate = Annotated[
    Path | None, typer.Option("--tls-cert", exists=True, dir_okay=False, help="Our own certificate.")
]
TlsKey = Annotated[Path | None, typer.Option("--tls-key", exists=True, dir_okay=False, help="Its key.")]

TlsCrl = Annotated[
    Path | None,
    typer.Option("--tls-crl", exists=True, dir_okay=False, help="Revocation list of --tls-ca."),
]


def client_tls(
    ca: Path | None, certificate: Path | None, key: Path | None, crl: Path | None
) -> ClientTls | None:
    """What the four options of TLS say together; None for in the clear."""
    if (certificate is None) != (key is None) or (ca is None and certificate is not None):
        raise typer.BadParameter("--tls-cert and --tls-key belong together, and to --tls-ca")
    if ca is None and crl is not None:
        raise typer.BadParameter("--tls-crl belongs to --tls-ca")
    from lfmri_node.dicom_io.tls import ClientTls

    return None if ca is None else ClientTls(ca=ca, certificate=certificate, key=key, crl=crl)


def ae_title(value: str) -> str:
    """The callback of an option that takes an AE title; "" for none."""
    try:
        if value:
            require_ae_title(value)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    return value


def found_file(path: Path | None) -> Path | None:
    """The file that `configuration` reads; None where there is none."""
    from lfmri_node.node.config import DEFAULT_FILE

    return path or (DEFAULT_FILE if DEFAULT_FILE.exists() else None)


def configuration(path: Path | None) -> Config:
    """What ``--config`` names, or ``config.toml`` here, or the defaults; see `config.load`."""
    from lfmri_node.node.config import from_document, load

    file = found_file(path)
    return load(file) if file is not None else from_document({}, base=Path.cwd(), name="defaults")


def attributes(
    identity: Path | None,
    patient_id: str | None,
    patient_name: str | None,
    study_uid: str | None,
    accession: str | None,
) -> dict[str, str]:
    """DICOM attributes that the options give; see `gateway.identity.read_identity`."""
    from lfmri_node.node.gateway.identity import read_identity

    options = {
        "PatientID": patient_id,
        "PatientName": patient_name,
        "StudyInstanceUID": study_uid,
        "AccessionNumber": accession,
    }
    return read_identity(identity, options)
