"""Sealing stations' keys and webhooks' secrets under the master key, so that a stolen database signs nothing.

Only AES-GCM of a key for its place lives here; what is stored where is store.stations and store.webhooks.
"""

from __future__ import annotations

import secrets
from functools import lru_cache

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from aquasmart_cloud.core.errors import SealError

_NONCE_BYTES = 12


def _place(station_id: str, key_id: str) -> bytes:
    """What a sealed key is bound to: it opens only in the row it was made for."""
    return f"aquasmart-station-key:v1:{station_id}:{key_id}".encode()


def seal(master_key: bytes, station_id: str, key_id: str, key: bytes) -> bytes:
    """Nonce and AES-256-GCM ciphertext of `key`."""
    nonce = secrets.token_bytes(_NONCE_BYTES)
    return nonce + AESGCM(master_key).encrypt(nonce, key, _place(station_id, key_id))


@lru_cache(maxsize=16_384)
def unseal(master_key: bytes, station_id: str, key_id: str, sealed: bytes) -> bytes:
    """The key. Cached by its sealed form, so that a revoked or replaced row is never answered from the cache:
    the caller reads the row at every request. Errors: SealError where the master key is another one.
    """
    try:
        nonce, ciphertext = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
        return AESGCM(master_key).decrypt(nonce, ciphertext, _place(station_id, key_id))
    except (InvalidTag, ValueError) as error:
        raise SealError(
            f"key {key_id} of {station_id} does not open with this master key",
            "use the master key that the database was started with",
        ) from error
