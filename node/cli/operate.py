"""Commands for who looks after a node: `main` makes them part of the program."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lfmri_node.node.cli.options import (
    Assigned,
    ConfigOption,
    Group,
    Held,
    InputFile,
    JsonOption,
    MethodName,
    NoPassword,
    Refused,
    Unassigned,
    UserName,
    UserRemoved,
    UserRole,
    Weights,
    ae_title,
    configuration,
    found_file,
)
from lfmri_node.node.cli.reported import EXIT_ERROR
from lfmri_node.node.terminal.tables import print_json

if TYPE_CHECKING:
    from lfmri_node.node.config import Config
    from lfmri_node.node.deeds import Deeds


def _deeds(settings: Config) -> Deeds:
    """What is done to jobs, by who sits at this terminal."""
    from lfmri_node.node.audit.person import person
    from lfmri_node.node.deeds import Deeds

    return Deeds(config=settings, by=person())


def retry(
    job: Held = None,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Put quarantined or waiting jobs back to work at their last stage."""
    settings = configuration(config)
    from lfmri_node.node.jobs.retry import Retried

    deeds = _deeds(settings)
    retried = deeds.retry_all() if job is None else Retried((deeds.retry(job),), {})
    if json:
        print_json(retried.to_json())
    else:
        typer.echo("\n".join(retried.lines()) or "no job is in quarantine")


def accept(
    scan: Refused = None,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Let a corrected scan, which was refused, follow the first; names what of the first was delivered."""
    settings = configuration(config)
    from lfmri_node.node import corrections, upkeep

    if scan is None:
        upkeep.print_corrections(corrections.corrections(settings), as_json=json)
    else:
        upkeep.print_accepted(_deeds(settings).accept(scan), as_json=json)


def assign(
    job: Unassigned = None,
    identity: Assigned = None,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Say whose a held scan is, so that it is delivered; list held scans. Values come by file or stdin."""
    settings = configuration(config)
    if (job is None) != (identity is None):
        raise typer.BadParameter("a job and --identity belong together; without both, held scans are listed")
    from lfmri_node.node import assignments, upkeep

    if job is None or identity is None:
        upkeep.print_held(assignments.held(settings), as_json=json)
    else:
        from lfmri_node.node.gateway.identity import read_identity

        given = read_identity(identity, {})
        upkeep.print_assigned(_deeds(settings).assign(job, given), as_json=json)


def purge(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what would go, and why.")] = False,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Delete what the limits under retention in config.toml give free; the service does so every hour."""
    settings = configuration(config)
    from lfmri_node.node import upkeep

    purges, refused = _deeds(settings).purge(dry_run=dry_run)
    if json:
        print_json(upkeep.purge_document(purges, refused, dry_run=dry_run))
    else:
        upkeep.print_purges(purges, refused, dry_run=dry_run)


def doctor(config: ConfigOption = None, json: JsonOption = False) -> None:
    """Check configuration, weights, disk, ports, destinations, certificates, dciodvfy, clocks and lock."""
    from lfmri_node.node.doctor.examine import examine
    from lfmri_node.node.doctor.findings import print_findings

    findings = examine(lambda: configuration(config))
    if not print_findings(findings, as_json=json):
        raise typer.Exit(EXIT_ERROR)


def reload(config: ConfigOption = None, json: JsonOption = False) -> None:
    """Have the running service read its configuration again; says what takes effect, and what waits for a
    restart."""
    settings = configuration(config)
    from lfmri_node.node import reload as reloading
    from lfmri_node.node.layout import Layout

    reloaded = reloading.ask(Layout(root=settings.node.data_dir))
    if json:
        print_json(reloaded.document())
        return
    typer.echo(f"in effect: {', '.join(reloaded.applied) or 'as before'}")
    if reloaded.needs_restart:
        typer.echo(f"after a restart: {', '.join(reloaded.needs_restart)}")


def explain(
    file: InputFile,
    calling_ae: Annotated[
        str, typer.Option(callback=ae_title, help="Read it as if this gateway had sent it.")
    ] = "",
    group: Group = None,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Say what the node would do with a scan, and why: what is refused, and what the verdict will look at."""
    settings = configuration(config)
    from lfmri_node.node.offline.explain import explain_file
    from lfmri_node.node.offline.view import print_explanation

    print_explanation(explain_file(file, settings, calling_ae=calling_ae, group=group), as_json=json)


def reprocess(
    study: Annotated[str | None, typer.Option(help="StudyInstanceUID of the measurements.")] = None,
    job: Annotated[str | None, typer.Option(help="First digits of one of their jobs.")] = None,
    since: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Received on this day or later.")
    ] = None,
    weights: Weights = None,
    method: Annotated[MethodName | None, typer.Option(help="Instead of recon.method.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what would be done.")] = False,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Reconstruct raw data on record once more, with other weights or method, as series of their own."""
    if study is None and job is None and since is None:
        raise typer.BadParameter("say which measurements: --study, --job, --since")
    settings = configuration(config)
    from lfmri_node.node import upkeep
    from lfmri_node.node.reprocess import Wanted

    wanted = Wanted(
        study=study, job=job, since=since.date() if since else None, weights=weights, method=method
    )
    upkeep.print_again(_deeds(settings).reprocess(wanted, dry_run=dry_run), dry_run=dry_run, as_json=json)


def backup(
    folder: Annotated[Path, typer.Argument(file_okay=False, help="A new or empty folder.")],
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Copy what the node needs to go on elsewhere, also while it runs."""
    settings = configuration(config)
    from dataclasses import asdict

    from lfmri_node.node.backup import back_up

    made = back_up(settings, found_file(config), folder)
    if json:
        print_json(asdict(made))
    else:
        typer.echo(
            f"{folder}: {made.raw} Raw Data file(s), {made.objects} object(s), {made.n_bytes / 1e6:.1f} MB"
        )


def users(
    name: UserName = None,
    role: UserRole = None,
    remove: UserRemoved = False,
    no_password: NoPassword = False,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """List who may log in to the console; add, change or remove somebody."""
    if (name is None) != (role is None and not remove) or (remove and role is not None):
        raise typer.BadParameter("a NAME goes with --role or with --remove")
    settings = configuration(config)
    from lfmri_node.node.console import accounts

    known = accounts.users_of(settings)
    if name is not None and role is not None:
        accounts.put(known, name, role, with_password=not no_password)
    elif name is not None:
        known.remove(name)
    accounts.print_users(known, as_json=json)
