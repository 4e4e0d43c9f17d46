"""`aquasmart bundle`: an archive of what helps somebody far away, without secrets; a smaller one for the cloud."""

from __future__ import annotations

import json
import time
from pathlib import Path

import click

from ..config import load_config
from .words import tr


@click.command()
@click.argument("target", metavar="[FILE]", type=click.Path(path_type=Path), required=False)
@click.option("--send", is_flag=True, help="Tell the cloud, too: a smaller one, as an operation.")
@click.option("--json", "as_json", is_flag=True, help="For programs: one JSON document.")
@click.pass_obj
def bundle(config_path: Path, target: Path | None, *, send: bool, as_json: bool) -> None:
    """Write a diagnostics archive to FILE or folder (default: here). It holds no key and no password.

    It is at most 3 MB, and much less as a rule.
    """
    from ..services import bundling

    config = load_config(config_path)
    name = f"aquasmart-{config.station_id}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}.tar.gz"
    path = target or Path(name)
    if path.is_dir():
        path = path / name
    size = bundling.write_archive(path, bundling.parts(config))
    number = None
    if send:
        from ..adapters import operation_rows
        from ..adapters.ops import OpsFile

        document = bundling.document(config)
        now_ms = time.time_ns() // 1_000_000
        with OpsFile(config.ops_path).writing() as connection:
            number = operation_rows.enqueue(connection, "diagnostics_bundle", {"document": document}, now_ms)
    if as_json:
        click.echo(json.dumps({"file": str(path), "bytes": size, "operation": number}))
        return
    click.echo(tr("{path}: {size:.0f} KiB, no key and no password in it", path=path, size=size / 1024))
    if number is not None:
        click.echo(tr("the cloud is told as operation {number}", number=number))
