"""Commands that work on one file, without a node: `main` makes them part of the program."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from lfmri_node.node.cli.options import (
    Accession,
    ConfigOption,
    DeviceName,
    Group,
    Identity,
    InputFile,
    JsonOption,
    MethodName,
    PatientId,
    PatientName,
    StudyUid,
    Weights,
    ae_title,
    attributes,
    configuration,
)
from lfmri_node.node.files import try_to_write
from lfmri_node.node.terminal.tables import print_json
from lfmri_node.recon.settings import Device


def reconstruct(
    file: InputFile,
    out: Annotated[Path, typer.Option(file_okay=False, help="Folder for *.dcm and *.png.")],
    config: ConfigOption = None,
    method: Annotated[MethodName | None, typer.Option(help="Instead of recon.method.")] = None,
    weights: Weights = None,
    device: Annotated[DeviceName | None, typer.Option(help="Instead of recon.device.")] = None,
    calling_ae: Annotated[
        str, typer.Option(callback=ae_title, help="Read it as if this gateway had sent it.")
    ] = "",
    patient_id: PatientId = None,
    patient_name: PatientName = None,
    study_uid: StudyUid = None,
    accession: Accession = None,
    identity: Identity = None,
    group: Group = None,
    json: JsonOption = False,
) -> None:
    """Reconstruct one file offline into DICOM objects and pictures. Exit 3: refused, nothing written."""
    try_to_write(out)
    settings = configuration(config)
    given = attributes(identity, patient_id, patient_name, study_uid, accession)
    from lfmri_node.node.offline.asked import recipe_for, require_measurement

    require_measurement(file, given, group)
    recipe = recipe_for(settings, method=method, weights=weights, calling_ae=calling_ae)
    from lfmri_node.node.worker.process import ENVIRONMENT

    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)  # of it OpenMP reads its part when torch is imported
    from lfmri_node.node.offline.view import print_outcomes, run_offline

    wanted = Device(device) if device else settings.recon.device
    precision = settings.recon.precision
    outcomes = run_offline(file, out, recipe, given=given, group=group, device=wanted, precision=precision)
    print_outcomes(outcomes, out, as_json=json)


def orient(
    file: InputFile,
    like: Annotated[
        Path | None, typer.Option(exists=True, help="The scanner's DICOM magnitude images of the same scan.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for a picture of all conventions.")] = None,
    config: ConfigOption = None,
    calling_ae: Annotated[
        str, typer.Option(callback=ae_title, help="AE title of the gateway that sends such files.")
    ] = "GATEWAY",
    json: JsonOption = False,
) -> None:
    """Find sign and flips of a scanner's k-space: compare with its own images. Exit 3: they do not decide."""
    if like is None and out is None:
        raise typer.BadParameter("give --like, --out, or both")
    if out is not None:
        try_to_write(out)
    settings = configuration(config)
    from lfmri_node.node.offline.asked import require_ismrmrd

    require_ismrmrd(file, group=None)
    from lfmri_node.node.offline.orient import orient_file
    from lfmri_node.node.offline.view import print_findings

    found = orient_file(file, like, out, settings, calling_ae)
    refusal = found.refusal()
    if refusal is None or not json:
        print_findings(found, as_json=json)
    if refusal is not None:
        raise refusal


def convert(
    source: InputFile,
    out: Annotated[Path, typer.Option(dir_okay=False, help="ISMRMRD file to write.")],
    accel: Annotated[float, typer.Option(min=1.0, help="Acceleration of the random line mask.")] = 4.0,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the mask.")] = 0,
    center_fraction: Annotated[
        float | None, typer.Option(min=0.0, max=1.0, help="Fully sampled centre.")
    ] = None,
    key: Annotated[str | None, typer.Option(help="Which array or flip angle of the npz.")] = None,
    json: JsonOption = False,
) -> None:
    """Convert arrays of measured k-space (npz) to ISMRMRD, with the truth beside it where it is known."""
    try_to_write(out.parent)
    from lfmri_node.recon.phantom.convert import convert_npz

    done = convert_npz(source, out, accel=accel, seed=seed, center_fraction=center_fraction, key=key)
    if json:
        print_json({"path": str(done.path), "truth": done.truth, "acceleration": done.acceleration})
        return
    typer.echo(f"{done.path}: acceleration {done.acceleration:.2f}")
    typer.echo(f"{done.truth}: truth" if done.truth else "no truth: the input is not fully sampled")
