"""Provisioning: a plan becomes the station's files, in an order that may be cut anywhere and begun again.

First everything is checked, by the same code that the services start with. Then the key, in a file of its own for each
key id; CA, proxy and network; then station.toml, which is the switch: until its rename the
station is as it was, after it as it shall be. Only then is anything wiped from the boot partition, so that at every
instant at least one whole copy of the key exists, and a repetition finds either the whole file or a finished station.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import tempfile
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from ..adapters.provision_files import GROUP, PRIVATE, PUBLIC, Wiping, give_to_group, point, put, remove
from ..config import Config, load_config
from ..core import pin
from ..core.errors import BadConfig
from ..core.network_profiles import Connection
from ..core.phrases import Phrase
from ..core.provisioning import PASSED_ON, BadProvision, Plan, is_wiped, read_plan, wipe_ranges

CA_FILE, PROXY_FILE = "ca.pem", "proxy.credentials"
PIN_FILE, SSH_KEYS_FILE = "panel.pin", "technician.keys"
"""The PIN's hash, where the page looks for it by default, and what the image's sshd takes as authorized keys."""
PANEL_GROUP = "aquasmart-panel"
KEY_LINK = "station.key"
"""The present key under a name that never changes, for the units (LoadCredential=); switched after station.toml, and a
cut between the two is ended by the next run, which comes before the services at boot."""
INTENT = ".provisioning-wipe.json"
MEMORY = Path("/dev/shm")  # noqa: S108
"""A key is tried out in memory only: it must not reach the card under a temporary name."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where things go. `config` is station.toml; its folder holds key, CA and proxy credentials."""

    config: Path
    network: Path

    @property
    def folder(self) -> Path:
        return self.config.resolve().parent

    def key(self, key_id: str) -> Path:
        return self.folder / f"station.{key_id}.key"


@dataclass(slots=True)
class Done:
    """What provisioning did, for people and programs. No secret is in it."""

    station_id: str
    key_id: str
    key_fingerprint: str
    changed: list[str] = field(default_factory=list)
    wiped: int = 0
    """How many secrets were overwritten on the boot partition."""


def check(source: Path, places: Places) -> tuple[Plan, Config]:
    """The plan of a provisioning file, and the configuration it makes. Raises BadProvision with every fault at once."""
    faults: list[str] = []
    try:
        data = source.read_bytes()
    except OSError as fault:
        raise BadProvision(str(source), [Phrase("cannot be read: {reason}", reason=fault.strerror)]) from fault
    try:
        plan = read_plan(str(source), data)
    except BadProvision as fault:
        # A file that can be read at all is checked to its end: one message, every fault.
        faults += fault.faults
        plan = None
    if plan is not None and plan.key is None and not places.key(plan.key_id).is_file():
        faults.append(
            Phrase(
                "cloud.key: was moved before, but this station has no key {key_id}: put the key in again",
                key_id=plan.key_id,
            )
        )
    if plan is not None and plan.proxy_credentials == "" and not (places.folder / PROXY_FILE).is_file():
        faults.append(Phrase("cloud.proxy.password: was moved before, but is not here: put it in again"))
    if plan is not None and plan.access.pin == "" and not (places.folder / PIN_FILE).is_file():
        faults.append(Phrase("access.pin: was moved before, but is not here: put it in again"))
    for each in (plan.networks or ()) if plan is not None else ():
        if each.moved and not (places.network / f"{each.name}.nmconnection").is_file():
            faults.append(
                Phrase("network: a secret of {name} was moved before, but is not here: put it in again", name=each.name)
            )
    config, more = _tried(plan, data, places)
    if faults or more or plan is None or config is None:
        raise BadProvision(str(source), sorted({*faults, *more}))
    return plan, config


def provision(source: Path, places: Places) -> Done:
    """Do all of it, or what a former run was cut from. Raises BadProvision before anything changes, CannotWrite."""
    wiping = Wiping(places.folder / INTENT)
    finished = wiping.finish(source) if source.exists() else False
    plan, _ = check(source, places)
    key = plan.key or places.key(plan.key_id).read_text(encoding="ascii").strip()
    done = Done(plan.station_id, plan.key_id, fingerprint(key), wiped=int(finished))

    def write(path: Path, text: str, mode: int) -> None:
        if put(path, text, mode):
            done.changed.append(str(path))

    write(places.key(plan.key_id), key + "\n", PRIVATE)
    if plan.ca is not None:
        write(places.folder / CA_FILE, plan.ca, PUBLIC)
    if plan.proxy_credentials:
        write(places.folder / PROXY_FILE, plan.proxy_credentials + "\n", PRIVATE)
    _network(plan, places, write, done)
    _access(plan, places, write)
    write(places.config, _toml(_settings(plan, places)), PUBLIC)
    point(places.folder / KEY_LINK, places.key(plan.key_id).name)
    _clear(plan, places)
    ranges = wipe_ranges(source.read_bytes())
    if ranges:
        wiping.begin(source, ranges)
        done.wiped += len(ranges)
    return done


def fingerprint(key: str) -> str:
    """What may be read out over the telephone: tells keys apart, gives none away."""
    return hashlib.sha256(bytes.fromhex(key)).hexdigest()[:12]


def label(config: Config, hardware_id: str) -> str:
    """The text of the QR code for the operator: who this is, nothing secret."""
    return json.dumps(
        {
            "aquasmart": 1,
            "station_id": config.station_id,
            "key_id": config.cloud.key_id,
            "key_fingerprint": fingerprint(config.cloud.key.hex()),
            "hardware_id": hardware_id,
            "cloud": config.cloud.url,
            "meters": [meter.id for meter in config.meters],
        },
        separators=(",", ":"),
    )


def _network(plan: Plan, places: Places, write: Any, done: Done) -> None:
    if plan.networks is None:
        return
    for each in plan.networks:
        path = places.network / f"{each.name}.nmconnection"
        write(path, _with_moved(each, path) if each.moved else each.text, PRIVATE)
    wanted = {f"{each.name}.nmconnection" for each in plan.networks}
    for path in sorted(places.network.glob("aquasmart-*.nmconnection")):
        if path.name not in wanted:
            remove(path)
            done.changed.append(str(path))


def _access(plan: Plan, places: Places, write: Callable[[Path, str, int], None]) -> None:
    """Who may sign in. A PIN that is the same keeps its hash: a repetition, after a cut say, changes nothing."""
    if plan.access.pin:
        path = places.folder / PIN_FILE
        if not (path.is_file() and pin.matches(plan.access.pin, path.read_text(encoding="ascii", errors="replace"))):
            write(path, pin.keep(plan.access.pin, secrets.token_bytes(16)) + "\n", GROUP)
        # Also where a cut came before it: the PIN still stands in the file then, and this is reached again.
        give_to_group(path, PANEL_GROUP)
    if plan.access.ssh_keys is not None:
        write(places.folder / SSH_KEYS_FILE, plan.access.keys_text, PUBLIC)


def _with_moved(connection: Connection, path: Path) -> str:
    """The new text, with the secrets that were moved before as the present file has them."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    present = {name: value for name, equals, value in (line.partition("=") for line in lines) if equals}
    made = []
    for line in connection.text.splitlines():
        name, _, value = line.partition("=")
        made.append(f"{name}={present.get(name, '')}" if is_wiped(value) else line)
    return "\n".join(made) + "\n"


def _clear(plan: Plan, places: Places) -> None:
    """Keys of former provisionings: station.toml no longer names them."""
    for path in sorted(places.folder.glob("station.*.key")):
        if path != places.key(plan.key_id):
            remove(path)


def _settings(plan: Plan, places: Places) -> dict[str, Any]:
    """station.toml's document: what stands there, with the plan's tables in place of the same ones."""
    former: dict[str, Any] = {}
    if places.config.is_file():
        try:
            former = tomllib.loads(places.config.read_text(encoding="utf-8"), parse_float=Decimal)
        except (OSError, ValueError):
            former = {}  # one that cannot be read is no loss: the plan is whole
    cloud = dict(plan.settings["cloud"]) | {"key_file": places.key(plan.key_id).name}
    if plan.ca is not None:
        cloud["ca_file"] = CA_FILE
    if plan.proxy_credentials is not None:
        cloud["proxy_credentials_file"] = PROXY_FILE
    return {**former, **plan.settings, "cloud": cloud}


def _tried(plan: Plan | None, data: bytes, places: Places) -> tuple[Config | None, list[str]]:
    """The configuration that the plan makes, loaded as the services will; or its faults, by the file's own names."""
    if plan is None:
        return None, _station_faults(data)
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as name:
        trial = Places(Path(name) / "station.toml", places.network)
        key = plan.key or "0" * 64
        put(trial.key(plan.key_id), key, PRIVATE)
        put(trial.folder / CA_FILE, plan.ca or "", PUBLIC)
        put(trial.folder / PROXY_FILE, plan.proxy_credentials or "-:-", PRIVATE)
        put(trial.config, _toml(_settings(plan, places) | {"cloud": _settings(plan, trial)["cloud"]}), PUBLIC)
        try:
            return load_config(trial.config), []
        except BadConfig as fault:
            return None, fault.faults


def _station_faults(data: bytes) -> list[str]:
    """What else is wrong with a file whose plan could not be read: its meters and settings, tried with a stand-in."""
    try:
        document = tomllib.loads(data.decode("utf-8-sig"), parse_float=Decimal)
    except ValueError:
        return []
    given = document.get("cloud")
    url = given.get("url", "") if isinstance(given, dict) else ""
    tables: dict[str, Any] = {name: document[name] for name in PASSED_ON if name in document}
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as name:
        folder = Path(name)
        put(folder / "k.key", "0" * 64, PRIVATE)
        cloud = {"url": url, "key_id": "k", "key_file": "k.key"}
        top: dict[str, Any] = {"station_id": document.get("station_id", ""), "cloud": cloud, **tables}
        try:
            put(folder / "station.toml", _toml(top), PUBLIC)
            load_config(folder / "station.toml")
        except BadConfig as fault:
            return fault.faults
        except TypeError:
            return []
    return []


def _toml(document: Mapping[str, Any]) -> str:
    """A document of plain tables and lists of tables as TOML. Decimals stay exact."""
    top = {name: value for name, value in document.items() if not isinstance(value, dict | list)}
    parts = ["# Made by `aquasmart provision`. Changes in the tables that its file has are replaced by the next one.\n"]
    parts.append(_lines(top))
    for name, value in document.items():
        if isinstance(value, dict):
            parts.append(f"[{name}]\n{_lines(value)}")
        elif isinstance(value, list):
            parts += [f"[[{name}]]\n{_lines(each)}" for each in value if isinstance(each, dict)]
    return "\n".join(parts)


def _lines(table: Mapping[str, Any]) -> str:
    return "".join(f"{key} = {_value(value)}\n" for key, value in table.items())


def _value(value: Any) -> str:
    return str(value) if isinstance(value, Decimal) else json.dumps(value, ensure_ascii=False)
