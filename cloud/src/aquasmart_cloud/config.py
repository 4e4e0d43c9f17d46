"""What the operator configures: addresses from the environment, secrets from files.

Reading and judging the configuration lives here, and nothing that uses it. Every fault is reported at once;
`or_exit` ends the process with status 78 (EX_CONFIG) before anything has started.
"""

from __future__ import annotations

import importlib.util
import os
import re
import secrets
import stat
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from .config_telling import Telling, read_telling
from .config_updates import Updates, read_updates
from .core.errors import ConfigError
from .core.fault_names import BY_HEADER, FAULTS, parse_fault
from .store.keyring import MasterKeys

EXIT_CONFIG = 78
"""EX_CONFIG of sysexits.h: something was found in an unconfigured or misconfigured state."""

MASTER_KEY = "master.key"
ADMIN_TOKEN = "admin.token"  # noqa: S105  (a file's name)
DATABASE = "cloud.db"
PRODUCTION, DEVELOPMENT = "production", "development"
"""AQUASMART_MODE. Production is what it is unless somebody says otherwise."""
DEFAULT_BIND = "127.0.0.1:8000"
MEMORY = "memory"
"""AQUASMART_RATE_LIMIT_STORAGE for counts of each process's own."""
_LEAST_TOKEN_LENGTH = 16
_LEAST_DISTINCT_CHARACTERS = 6


@dataclass(frozen=True, slots=True)
class Config:
    """A configuration that has been judged usable."""

    database_url: str
    master_key: bytes = field(repr=False)
    """32 bytes: seals the stations' keys."""
    admin_token: str = field(repr=False)
    """What people sign in with until there are accounts."""
    master_key_file: Path | None = None
    """Where it came from, and where another one will be."""
    bind: str = DEFAULT_BIND
    retention_months: int | None = None
    """For how many whole months batches are kept; None: for ever."""
    rate_limit_storage: str = MEMORY
    """Where rates are counted: `memory`, each process for itself, or the URL of a Redis that all share."""
    rate_limit_password: str = field(default="", repr=False)
    proxies: int = 0
    """How many proxies of ours stand before the cloud, whose X-Forwarded-For says who asks."""
    faults: str = ""
    """'' for none, `header`, or a fault for every request (core.fault_names); never in production."""
    telling: Telling = field(default_factory=Telling)
    """Who is told of alerts, and where webhooks may lead."""
    updates: Updates = field(default_factory=Updates)
    """Where images' updates lie, and how large one may be."""

    def keys(self) -> MasterKeys:
        """The master key as it may change while a process runs."""
        return MasterKeys(self.master_key, self.master_key_file)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Config:
        """Read the configuration. Errors: ConfigError naming every fault."""
        env = os.environ if environment is None else environment
        faults: list[str] = []
        master_key, token = "", ""
        key_file = env.get("AQUASMART_MASTER_KEY_FILE", "")
        if key_file:
            master_key = _secret(Path(key_file), "the master key", _master_key_fault, faults)
            token_file = Path(env.get("AQUASMART_ADMIN_TOKEN_FILE") or Path(key_file).parent / ADMIN_TOKEN)
            token = _secret(token_file, "the admin token", _token_fault, faults)
        else:
            faults.append(
                f"AQUASMART_MASTER_KEY_FILE is not set: run 'aquasmart-cloud init DIR' and set it to DIR/{MASTER_KEY}"
            )
            if env.get("AQUASMART_ADMIN_TOKEN_FILE"):
                token_file = Path(env["AQUASMART_ADMIN_TOKEN_FILE"])
                token = _secret(token_file, "the admin token", _token_fault, faults)
        url = env.get("AQUASMART_DATABASE_URL") or f"sqlite:///{Path(key_file).resolve().parent / DATABASE}"
        faults += _url_faults(url)
        bind = env.get("AQUASMART_BIND") or DEFAULT_BIND
        faults += _bind_faults(bind)
        months = env.get("AQUASMART_RETENTION_MONTHS") or None
        if months is not None and not (months.isdecimal() and int(months) > 0):
            faults.append(f"AQUASMART_RETENTION_MONTHS must be a number of months from 1, not {months!r}")
        storage = env.get("AQUASMART_RATE_LIMIT_STORAGE") or MEMORY
        faults += _storage_faults(storage)
        password = ""
        if password_file := env.get("AQUASMART_RATE_LIMIT_PASSWORD_FILE"):
            password = _secret(Path(password_file), "the password of the rate limits' Redis", lambda _: "", faults)
        proxies = env.get("AQUASMART_PROXIES") or "0"
        if not re.fullmatch(r"[0-9]", proxies):
            faults.append(f"AQUASMART_PROXIES must be the number of proxies before the cloud, 0 to 9, not {proxies!r}")
        injected = env.get("AQUASMART_FAULTS", "")
        faults += _injection_faults(injected, env.get("AQUASMART_MODE") or PRODUCTION)
        telling = read_telling(env, faults, _smtp_password)
        updates = read_updates(env, Path(key_file or ".").resolve().parent, faults)
        if faults:
            raise ConfigError(faults)
        return cls(
            database_url=url,
            master_key=bytes.fromhex(master_key),
            admin_token=token,
            master_key_file=Path(key_file),
            bind=bind,
            retention_months=int(months) if months else None,
            rate_limit_storage=storage,
            rate_limit_password=password,
            proxies=int(proxies),
            faults=injected,
            telling=telling,
            updates=updates,
        )

    @classmethod
    def or_exit(cls) -> Config:
        """Read the configuration, or name every fault on standard error and exit with status 78."""
        try:
            return cls.from_environment()
        except ConfigError as error:
            _refuse(error)


def _refuse(error: ConfigError) -> NoReturn:
    sys.stderr.write(f"aquasmart-cloud: {error}\n")
    raise SystemExit(EXIT_CONFIG)


def _secret(path: Path, what: str, fault_of: Callable[[str], str], faults: list[str]) -> str:
    """The stripped text of a secret's file; faults are appended, never the secret itself."""
    try:
        mode = path.stat().st_mode
        text = path.read_text("ascii").strip()
    except UnicodeDecodeError:
        faults.append(f"{what} {path} is not plain text")
        return ""
    except OSError as error:
        faults.append(f"{what} {path} cannot be read: {error.strerror or error}; 'aquasmart-cloud init' makes it")
        return ""
    if not stat.S_ISREG(mode):
        faults.append(f"{what} {path} is not a regular file")
    elif mode & 0o077:
        faults.append(f"{what} {path} is readable by others (mode {mode & 0o777:04o}): chmod 600 {path}")
    if fault := fault_of(text):
        faults.append(f"{what} {path} {fault}")
    return text


def _smtp_password(path: Path, faults: list[str]) -> str:
    return _secret(path, "the mail server's password", lambda text: "" if text else "is empty", faults)


def _master_key_fault(text: str) -> str:
    if not re.fullmatch(r"[0-9a-fA-F]{64}", text):
        return "must hold 32 random bytes as 64 hex digits"
    return "is a default, not random bytes" if len(set(text)) < _LEAST_DISTINCT_CHARACTERS else ""


def _token_fault(text: str) -> str:
    if len(text) < _LEAST_TOKEN_LENGTH:
        return f"must hold at least {_LEAST_TOKEN_LENGTH} characters"
    if len(set(text)) < _LEAST_DISTINCT_CHARACTERS or "changeme" in text.lower():
        return "is a default, not a random token"
    return ""


def _url_faults(url: str) -> list[str]:
    try:
        parsed = make_url(url)
    except ArgumentError:
        return ["AQUASMART_DATABASE_URL is not a database URL such as sqlite:////var/lib/aquasmart-cloud/cloud.db"]
    kind = parsed.get_backend_name()
    if kind == "postgresql":
        return _postgresql_faults(parsed)
    if kind != "sqlite":
        return [f"AQUASMART_DATABASE_URL names {kind}: events are stored in sqlite or postgresql"]
    if not parsed.database or parsed.database == ":memory:":
        return ["AQUASMART_DATABASE_URL names no file: an account in memory would not survive a restart"]
    return []


def _postgresql_faults(parsed: URL) -> list[str]:
    faults = []
    if not parsed.database:
        faults.append("AQUASMART_DATABASE_URL names no database: postgresql://USER@HOST/aquasmart")
    if parsed.query.get("prepare", "never") != "never":
        faults.append("AQUASMART_DATABASE_URL: the only value of prepare is never, for PgBouncer in transaction mode")
    return faults


def _storage_faults(storage: str) -> list[str]:
    name = "AQUASMART_RATE_LIMIT_STORAGE"
    if storage == MEMORY:
        return []
    try:
        parts = urlsplit(storage)
        usable = parts.scheme in {"redis", "rediss"} and parts.hostname and parts.port != 0
    except ValueError:
        usable = None
    if not usable and not re.fullmatch(r"unix:///\S+", storage):
        return [f"{name} must be {MEMORY}, redis://HOST:PORT/0, rediss://… or unix:///PATH"]
    if parts.password is not None:
        return [f"{name} holds a password: put it into a file and name that in AQUASMART_RATE_LIMIT_PASSWORD_FILE"]
    if importlib.util.find_spec("redis") is None:
        return [f"{name} needs the extra redis: pip install 'aquasmart-cloud[redis]', or set it to {MEMORY}"]
    return []


def _bind_faults(bind: str) -> list[str]:
    host, colon, port = bind.rpartition(":")
    if not (host and colon and port.isdigit() and 0 < int(port) < 65536):
        return [f"AQUASMART_BIND must be HOST:PORT, not {bind!r}"]
    return []


def _injection_faults(injected: str, mode: str) -> list[str]:
    if mode not in (PRODUCTION, DEVELOPMENT):
        return [f"AQUASMART_MODE must be {PRODUCTION} or {DEVELOPMENT}, not {mode!r}"]
    if injected and mode == PRODUCTION:
        return [f"AQUASMART_FAULTS makes requests fail on purpose: unset it, or set AQUASMART_MODE={DEVELOPMENT}"]
    if injected and injected != BY_HEADER and parse_fault(injected) is None:
        return [f"AQUASMART_FAULTS must be {BY_HEADER} or one of {', '.join(FAULTS)}, not {injected!r}"]
    return []


def initialise(folder: Path) -> dict[str, bool]:
    """Make `folder` with a fresh master key and admin token, mode 0600. Returns file → whether it was made.

    What exists is kept: a second key would make every stored station key unreadable.
    Errors: OSError where the folder cannot be written.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    contents = {MASTER_KEY: secrets.token_hex(32), ADMIN_TOKEN: secrets.token_urlsafe(32)}
    return {str(folder / name): _write_once(folder / name, text) for name, text in contents.items()}


def _write_once(path: Path, text: str) -> bool:
    """Write a secret that no other user can read at any moment; False where the file exists."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return False
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
    return True
