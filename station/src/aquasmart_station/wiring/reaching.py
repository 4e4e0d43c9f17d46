"""How this station reaches its cloud: the configuration's words as the transport's settings, for everyone alike."""

from __future__ import annotations

from ..adapters.http import HttpSettings
from ..adapters.tls import TlsSettings
from ..config import CloudConfig


def http_settings(cloud: CloudConfig) -> HttpSettings:
    """For every lane, the doctor and the factory reset."""
    tls = TlsSettings(cloud.ca_file, cloud.tls_1_2, cloud.client_certificate_file, cloud.client_key_file)
    return HttpSettings(
        cloud.url, cloud.connect_timeout_s, cloud.read_timeout_s, tls, cloud.proxy_url, cloud.proxy_credentials
    )
