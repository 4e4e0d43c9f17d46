"""The station's configuration file: TOML in, a checked `Config` out, every fault named at once.

Reads the file and looks at what it points to (key file permissions); starts nothing. Relative paths are relative to
the file's folder. Unknown keys are faults: a misspelt setting must not be silently a default.
"""

from __future__ import annotations

import os
import re
import stat
import tomllib
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

from .config_showing import LedConfig, PanelConfig, led_config, panel_config
from .config_table import Table
from .config_update import UpdateConfig, update_config
from .core.errors import BadConfig
from .core.phrases import Phrase
from .core.retention import DAY_MS
from .core.ring import DEFAULT_CAPACITY
from .meters.driver import DriverSettings, make_driver

STATION_ID = re.compile(r"[a-z0-9-]{1,64}")
METER_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
KEY_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


@dataclass(frozen=True, slots=True)
class CloudConfig:
    url: str
    key_id: str
    key: bytes
    """32 bytes; never logged, never shown."""
    ca_file: Path | None
    tls_1_2: bool
    connect_timeout_s: float
    read_timeout_s: float
    client_certificate_file: Path | None = None
    client_key_file: Path | None = None
    """None: the key stands in the certificate's file."""
    proxy_url: str | None = None
    """http://host:port of a proxy that tunnels to an https cloud."""
    proxy_credentials: str | None = None
    """user:password; never logged, never shown."""

    def __repr__(self) -> str:
        return f"CloudConfig(url={self.url!r}, key_id={self.key_id!r}, key=…)"


@dataclass(frozen=True, slots=True)
class ReaderConfig:
    commit_interval_s: float
    idle_heartbeat_s: float
    poll_hz: float
    ring_rows: int


@dataclass(frozen=True, slots=True)
class DetectConfig:
    """When the reader speaks of what it notices (core/anomaly.py, watching.py, leaks.py, diagnosis.py)."""

    threshold: float
    window: int
    warm_up: int
    leak_after_s: float
    slow_leak_after_s: float
    stuck_after_s: float
    no_flow_after_s: float
    diagnostics_interval_s: float
    supply_low_mv: int


@dataclass(frozen=True, slots=True)
class LogConfig:
    budget_bytes: int | None
    """None: by the size of the partition."""
    retention_days: int

    @property
    def retention_ms(self) -> int:
        return self.retention_days * DAY_MS


@dataclass(frozen=True, slots=True)
class SyncConfig:
    linger_s: float
    heartbeat_s: float
    batch_rows_max: int
    bytes_per_hour: int | None
    """None: the link is not metered."""
    burst_bytes: int
    recheck_s: float
    """How often a hold is tried again."""
    trial_s: float
    """How long a configuration that could break polling or the link is on trial."""


@dataclass(frozen=True, slots=True)
class MeterConfig:
    id: str
    port: Path
    settings: DriverSettings


@dataclass(frozen=True, slots=True)
class Config:
    """Everything a service needs to start."""

    path: Path
    station_id: str
    state_dir: Path
    runtime_dir: Path
    cloud: CloudConfig
    reader: ReaderConfig
    detect: DetectConfig
    log: LogConfig
    sync: SyncConfig
    led: LedConfig
    panel: PanelConfig
    update: UpdateConfig
    meters: tuple[MeterConfig, ...]

    @property
    def log_path(self) -> Path:
        return self.state_dir / "log.db"

    @property
    def ops_path(self) -> Path:
        """Where the packaging made a folder for it, there: the panel's user may write in that one, never beside the
        log (docs/decisions/0042-appliance.md)."""
        folder = self.state_dir / "ops"
        return (folder if folder.is_dir() else self.state_dir) / "ops.db"

    @property
    def live_path(self) -> Path:
        return self.runtime_dir / "live.db"


def load_config(path: Path, *, secrets: bool = True) -> Config:
    """Read and check `path`. Raises BadConfig with every fault at once.

    Without `secrets` no key file is opened: for those who look only, under users that may not read one.
    """
    faults: list[str] = []
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"), parse_float=Decimal)
    except FileNotFoundError:
        raise BadConfig(str(path), [Phrase("the file does not exist")]) from None
    except (OSError, UnicodeDecodeError) as fault:
        raise BadConfig(str(path), [Phrase("the file cannot be read: {reason}", reason=str(fault))]) from fault
    except tomllib.TOMLDecodeError as fault:
        raise BadConfig(str(path), [Phrase("not TOML: {reason}", reason=str(fault))]) from fault
    folder = path.resolve().parent
    top = Table("", document, faults)
    config = Config(
        path=path,
        station_id=top.text("station_id", STATION_ID),
        state_dir=folder / top.text("state_dir", default="/var/lib/aquasmart"),
        runtime_dir=folder / top.text("runtime_dir", default="/run/aquasmart"),
        cloud=_cloud(Table("cloud", top.raw("cloud") or {}, faults), folder, secrets=secrets),
        reader=_reader(Table("reader", top.raw("reader") or {}, faults)),
        detect=_detect(Table("detect", top.raw("detect") or {}, faults)),
        log=_log(Table("log", top.raw("log") or {}, faults)),
        sync=_sync(Table("sync", top.raw("sync") or {}, faults)),
        led=led_config(Table("led", top.raw("led") or {}, faults)),
        panel=panel_config(Table("panel", top.raw("panel") or {}, faults), folder),
        update=update_config(Table("update", top.raw("update") or {}, faults), folder),
        meters=_meters(top, folder, faults),
    )
    top.done()
    if faults:
        raise BadConfig(str(path), sorted(faults))
    return config


def _cloud(table: Table, folder: Path, *, secrets: bool) -> CloudConfig:
    url = table.text("url").rstrip("/")
    if url and not re.fullmatch(r"https?://[^\s/?#@]+", url):
        table.fault(
            "url", Phrase("{url!r} must be http:// or https:// with a host and perhaps a port, nothing more", url=url)
        )
    key_file = table.text("key_file")
    certificate = _file(table, "client_certificate_file", folder)
    own_key = _file(table, "client_key_file", folder)
    if own_key is not None and certificate is None:
        table.fault("client_key_file", Phrase("is of no use without client_certificate_file"))
    if secrets:
        _private(table, "client_key_file" if own_key else "client_certificate_file", own_key or certificate)
    config = CloudConfig(
        url=url,
        key_id=table.text("key_id", KEY_ID),
        key=_key(table, folder / key_file) if key_file and secrets else b"",
        ca_file=_file(table, "ca_file", folder),
        tls_1_2=table.yes_no("tls_1_2") or False,
        connect_timeout_s=table.number("connect_timeout_s", 5.0, 0.1, 120),
        read_timeout_s=table.number("read_timeout_s", 30.0, 0.1, 600),
        client_certificate_file=certificate,
        client_key_file=own_key,
        proxy_url=_proxy_url(table),
        proxy_credentials=_proxy_credentials(table, folder, secrets=secrets),
    )
    if config.proxy_url and url.startswith("http://"):
        table.fault(
            "proxy_url", Phrase("only an https:// cloud can be reached through a proxy: it tunnels, and reads nothing")
        )
    if config.proxy_credentials and not config.proxy_url:
        table.fault("proxy_credentials_file", Phrase("is of no use without proxy_url"))
    table.done()
    return config


def _proxy_url(table: Table) -> str | None:
    url = table.raw("proxy_url")
    if url is None:
        return None
    if not isinstance(url, str) or not re.fullmatch(r"http://[^\s/?#@]+", url):
        table.fault("proxy_url", Phrase("must be http://host:port, without user or password"))
        return None
    return url


def _proxy_credentials(table: Table, folder: Path, *, secrets: bool) -> str | None:
    path = _file(table, "proxy_credentials_file", folder)
    if path is None or not secrets:
        return None
    _private(table, "proxy_credentials_file", path)
    text = path.read_text(encoding="utf-8", errors="replace").strip()
    if ":" not in text:
        table.fault("proxy_credentials_file", Phrase("{path} must hold user:password", path=path))
    return text


def _file(table: Table, key: str, folder: Path) -> Path | None:
    """A file that must be there, where one is named at all."""
    name = table.raw(key)
    if name is None:
        return None
    if not (isinstance(name, str) and (folder / name).is_file()):
        table.fault(key, Phrase("{name!r} is not a file", name=name))
        return None
    return folder / name


def _private(table: Table, key: str, path: Path | None) -> None:
    """A fault where others than the owner can read what holds a key."""
    mode = 0 if path is None else stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        table.fault(
            key,
            Phrase("{path} holds a key and can be read by others (mode {mode:o}): chmod 600 it", path=path, mode=mode),
        )


def _key(table: Table, path: Path) -> bytes:
    """The station's key: 64 hex digits in a file that only its owner can read."""
    # systemd hands services their secrets in a folder of its own, whose access it guards (LoadCredential=).
    credentials = os.environ.get("CREDENTIALS_DIRECTORY")
    # Provisioned keys have their id in the name; units name the link beside them, which is always station.key.
    names = (path.name, "station.key") if credentials else ()
    given = next((Path(credentials or "") / name for name in names if (Path(credentials or "") / name).is_file()), None)
    if given is not None:
        path = given
    try:
        mode = 0o600 if path is given else path.stat().st_mode
        text = path.read_text(encoding="ascii").strip()
    except OSError as fault:
        table.fault("key_file", Phrase("{path} cannot be read: {strerror}", path=path, strerror=fault.strerror))
        return b""
    except UnicodeDecodeError:
        text, mode = "", 0o600
    if stat.S_IMODE(mode) & 0o077:
        table.fault(
            "key_file",
            Phrase("{path} can be read by others (mode {mode:o}): chmod 600 it", path=path, mode=stat.S_IMODE(mode)),
        )
    if not re.fullmatch(r"[0-9a-f]{64}", text):
        table.fault("key_file", Phrase("{path} must hold 64 lower-case hex digits", path=path))
        return b""
    return bytes.fromhex(text)


def _reader(table: Table) -> ReaderConfig:
    config = ReaderConfig(
        commit_interval_s=table.number("commit_interval_s", 1.0, 0.05, 60),
        idle_heartbeat_s=table.number("idle_heartbeat_s", 300, 1, 86_400),
        poll_hz=table.number("poll_hz", 10, 0.01, 50),
        ring_rows=table.whole("ring_rows", DEFAULT_CAPACITY, 10, 1_000_000),
    )
    table.done()
    return config


def _log(table: Table) -> LogConfig:
    budget_mib = table.whole("budget_mib", 0, 1, 1 << 20)
    config = LogConfig(
        budget_bytes=budget_mib << 20 if budget_mib else None,
        retention_days=table.whole("retention_days", 30, 1, 3_650),
    )
    table.done()
    return config


def _detect(table: Table) -> DetectConfig:
    config = DetectConfig(
        threshold=table.number("threshold", 3.0, 1.5, 20),
        window=table.whole("window", 120, 10, 10_000),
        warm_up=table.whole("warm_up", 30, 5, 10_000),
        leak_after_s=table.number("leak_after_s", 1_800, 1, 86_400),
        slow_leak_after_s=table.number("slow_leak_after_s", 1_800, 6, 604_800),
        stuck_after_s=table.number("stuck_after_s", 10, 1, 3_600),
        no_flow_after_s=table.number("no_flow_after_s", 259_200, 0, 31_536_000),
        diagnostics_interval_s=table.number("diagnostics_interval_s", 3_600, 1, 604_800),
        supply_low_mv=table.whole("supply_low_mv", 4_750, 1_000, 60_000),
    )
    if config.warm_up > config.window:
        table.fault("warm_up", Phrase("must not be above window ({window})", window=config.window))
    table.done()
    return config


def _sync(table: Table) -> SyncConfig:
    bytes_per_hour = table.whole("bytes_per_hour", 0, 10_000, 1 << 40) or None
    config = SyncConfig(
        linger_s=table.number("linger_s", 2.0, 0, 3_600),
        heartbeat_s=table.number("heartbeat_s", 60, 1, 86_400),
        batch_rows_max=table.whole("batch_rows_max", 2_000, 1, 10_000),
        bytes_per_hour=bytes_per_hour,
        burst_bytes=table.whole("burst_bytes", bytes_per_hour or 0, 1_000, 1 << 40),
        trial_s=table.number("trial_s", 600, 1, 86_400),
        recheck_s=table.number("recheck_s", 900, 1, 3_600),
    )
    table.done()
    return config


def _meters(top: Table, folder: Path, faults: list[str]) -> tuple[MeterConfig, ...]:
    listed = top.raw("meters")
    if not isinstance(listed, list) or not listed:
        faults.append(Phrase("meters: at least one [[meters]] table is needed"))
        return ()
    meters = [_meter(Table(f"meters[{index}]", values, faults), folder) for index, values in enumerate(listed)]
    for what, values in (("id", [m.id for m in meters]), ("port", [str(m.port) for m in meters])):
        twice = sorted({value for value in values if value and values.count(value) > 1})
        faults += [Phrase("meters: {what} {value!r} is given twice", what=what, value=value) for value in twice]
    return tuple(meters)


def _meter(table: Table, folder: Path) -> MeterConfig:
    meter_id = table.text("id", METER_ID)
    port = table.text("port")
    qmax_l_min = table.exact("qmax_l_min")
    settings = DriverSettings(
        meter_id=meter_id,
        driver=table.text("driver"),
        baud=table.whole("baud", 0, 300, 4_000_000) or None,
        k_factor=table.exact("k_factor"),
        qmax_ul_s=int((qmax_l_min or Fraction(60)) * 1_000_000 / 60),
        nonvolatile=table.yes_no("nonvolatile"),
        profile=table.text("profile", default="") if table.raw("profile") is not None else None,
        slave=table.whole("slave", 1, 1, 247),
        modulus=table.whole("modulus", 0, 2, 1 << 32) or None,
    )
    table.done()
    if settings.driver:
        try:
            make_driver(settings)
        except ValueError as fault:
            table.fault("driver", fault.args[0])
    return MeterConfig(meter_id, folder / port if port else Path(), settings)
