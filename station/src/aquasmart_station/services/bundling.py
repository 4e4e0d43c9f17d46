"""The diagnostics bundle: everything that helps somebody far away, bounded, and without a secret.

Two guards, since one may fail: only what is named here goes in, never a folder; and whatever looks for a second time
like a secret of this machine is blacked out in every part, however it got there.
"""

from __future__ import annotations

import io
import json
import os
import platform
import re
import shutil
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from .. import __version__
from ..adapters import operation_rows
from ..adapters.key_files import keys_folder
from ..adapters.log_view import LogView
from ..adapters.ops import OpsFile
from ..config import Config
from ..core.errors import StationError
from ..core.model import kind_name
from ..core.phrases import Phrase
from .report import station_report

PART_BYTES = 256 * 1024
DOCUMENT_PART_BYTES = 16 * 1024
"""The bundle that goes to the cloud as an operation is a small one: a link may be metered."""
WIRE_TEXT = 200
"""The longest text on the wire, in characters (docs/protocol.md)."""
LOG_ROWS, OPERATIONS = 500, 200
COMMAND_S = 15
BLACK = "[secret removed]"
SHORTEST_SECRET = 4
_NETWORK = Path("/etc/NetworkManager/system-connections")
_NETWORK_SECRET = re.compile(r"^(?:psk|password|pin)=(.+)$", re.MULTILINE)
_QUOTED = re.compile(r"""^\s*(?:key|password|pin)\s*=\s*["']([^"'\n]+)["']""", re.MULTILINE)


def secrets_of(config: Config, network: Path = _NETWORK) -> list[str]:
    """Everything on this machine that must not leave it, as it might be written anywhere. Longest first."""
    found = {config.cloud.key.hex(), config.cloud.proxy_credentials or ""}
    found.add((config.cloud.proxy_credentials or "").partition(":")[2])
    cloud = config.cloud
    files = [*config.path.resolve().parent.glob("*.key"), *keys_folder(config.state_dir).glob("*.key")]
    for path in [*files, *filter(None, (cloud.client_key_file, cloud.client_certificate_file))]:
        # A PEM file is many lines; each of them gives part of it away.
        found.update(line for line in _read(path).splitlines() if not line.startswith("-----"))
    for path in network.glob("*") if network.is_dir() else ():
        found.update(_NETWORK_SECRET.findall(_read(path)))
    for path in (Path("/boot/firmware/aquasmart.toml"), Path("/boot/aquasmart.toml")):
        found.update(_QUOTED.findall(_read(path)))
    found |= {secret.upper() for secret in found if re.fullmatch(r"[0-9a-f]{64}", secret)}
    return sorted((each for each in found if len(each) >= SHORTEST_SECRET and each.strip("*")), key=len, reverse=True)


def parts(config: Config, *, part_bytes: int = PART_BYTES) -> dict[str, str]:
    """File names and texts, each bounded, none with a secret. A part that cannot be had says why."""
    makers: dict[str, Callable[[], str]] = {
        "about.json": lambda: _json(_about()),
        "status.json": lambda: _json(station_report(config)),
        "doctor.json": lambda: _json(_doctor(config)),
        "station.toml": lambda: _read(config.path),
        "events.jsonl": lambda: _events(config),
        "operations.jsonl": lambda: _operations(config),
        "journal.txt": lambda: _run("journalctl", "-n", "2000", "-o", "short-iso", "--no-pager", *_units()),
        "services.txt": lambda: _run("systemctl", "status", "--no-pager", "-l", "aquasmart-*"),
        "kernel.txt": lambda: _run("dmesg", "--ctime"),
        "disk.txt": lambda: _run("df", "-h"),
        "network.txt": lambda: _run("ip", "address"),
        "ports.txt": _ports,
    }
    secrets = secrets_of(config)
    made = {}
    for name, maker in makers.items():
        try:
            text = maker()
        except (StationError, OSError, ValueError) as fault:
            text = f"could not be had: {fault}\n"
        made[name] = _bounded(_blackened(text, secrets), part_bytes)
    return made


def document(config: Config) -> dict[str, list[str]]:
    """The same, small, as an operation carries it: the protocol's texts have 200 characters at most, hence lines."""
    made = parts(config, part_bytes=DOCUMENT_PART_BYTES)
    return {name.replace(".", "_"): _lines(text) for name, text in made.items()}


def _lines(text: str) -> list[str]:
    lines = text.splitlines()
    return [line[at : at + WIRE_TEXT] for line in lines for at in range(0, max(1, len(line)), WIRE_TEXT)]


def write_archive(path: Path, made: dict[str, str]) -> int:
    """A .tar.gz, readable by its owner only; its size. Raises StationError."""
    fresh = path.with_name(path.name + ".part")
    try:
        with (
            os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file,
            tarfile.open(fileobj=file, mode="w:gz") as archive,
        ):
            for name, text in made.items():
                data = text.encode()
                entry = tarfile.TarInfo(f"{path.name.partition('.')[0]}/{name}")
                entry.size, entry.mtime, entry.mode = len(data), int(time.time()), 0o600
                archive.addfile(entry, io.BytesIO(data))
        fresh.replace(path)
    except OSError as fault:
        fresh.unlink(missing_ok=True)
        raise StationError(
            Phrase("{path} cannot be written: {strerror}", path=path, strerror=fault.strerror),
            hint=Phrase("Say another file."),
        ) from fault
    return path.stat().st_size


def _bounded(text: str, most: int) -> str:
    """The end is what matters: the latest lines."""
    data = text.encode()
    if len(data) <= most:
        return text
    kept = data[-most:].decode("utf-8", "ignore")
    return f"[{len(data) - most} bytes before this were left out]\n" + kept.partition("\n")[2]


def _blackened(text: str, secrets: Iterable[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, BLACK)
    return text


def _about() -> dict[str, Any]:
    return {
        "software": __version__,
        "python": platform.python_version(),
        "system": " ".join(platform.uname()),
        "os_release": _read(Path("/etc/os-release")),
        "made_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "uptime_s": int(time.clock_gettime(time.CLOCK_BOOTTIME)),
        "load": os.getloadavg(),
        "memory": _read(Path("/proc/meminfo"))[:400],
    }


def _doctor(config: Config) -> list[dict[str, Any]]:
    from .doctor import examine

    return [finding.document() for finding in examine(config, None)]


def _events(config: Config) -> str:
    with LogView(config.log_path) as log:
        rows = list(log.rows_after(max(0, log.last_position() - LOG_ROWS), LOG_ROWS))
    return "".join(
        json.dumps([str(header.id), row.seq, kind_name(row.kind), row.flags, row.at_ms, row.counts, row.data]) + "\n"
        for row, header in rows
    )


def _operations(config: Config) -> str:
    """What was told and how it went; not what keys were agreed upon with."""
    with OpsFile(config.ops_path).reading() as connection:
        found = operation_rows.listed(connection, limit=OPERATIONS)
    silent = {"parameters": None}
    documents = [
        each.document() | (silent if each.type in {"key_confirm", "diagnostics_bundle"} else {}) for each in found
    ]
    return "".join(json.dumps(document) + "\n" for document in documents)


def _ports() -> str:
    folder = Path("/dev/serial/by-path")
    return "".join(f"{path} -> {path.resolve()}\n" for path in sorted(folder.glob("*"))) or "none\n"


def _units() -> list[str]:
    return [word for unit in ("reader", "sync", "check", "panel", "led") for word in ("-u", f"aquasmart-{unit}")]


def _run(program: str, *words: str) -> str:
    path = shutil.which(program)
    if path is None:
        return f"{program} is not on this machine\n"
    try:
        done = subprocess.run([path, *words], check=False, capture_output=True, timeout=COMMAND_S)
    except subprocess.TimeoutExpired:
        return f"{program} took longer than {COMMAND_S} s\n"
    return (done.stdout + done.stderr).decode("utf-8", "replace")


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _json(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"
