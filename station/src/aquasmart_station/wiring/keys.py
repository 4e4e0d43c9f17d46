"""The station's keys: the one it was provisioned with, and those that followed it."""

from __future__ import annotations

from .. import __version__
from ..adapters.key_files import keys_folder, read_keys
from ..config import Config
from ..core.conversation import Identity
from ..core.keyring import KeyRing


def keyring_of(config: Config) -> KeyRing:
    """Newest first. Raises StationError where the keys cannot be read."""
    found = read_keys(keys_folder(config.state_dir))
    cloud = config.cloud
    identities = [Identity(config.station_id, key_id, __version__, key) for key_id, key in found]
    return KeyRing([*identities, Identity(config.station_id, cloud.key_id, __version__, cloud.key)])
