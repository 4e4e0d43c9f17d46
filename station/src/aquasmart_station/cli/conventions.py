"""What every way into `aquasmart` agrees on."""

from pathlib import Path

DEFAULT_CONFIG = Path("/etc/aquasmart/station.toml")
EX_CONFIG = 78
"""The exit status where the configuration cannot be used, by sysexits.h."""
