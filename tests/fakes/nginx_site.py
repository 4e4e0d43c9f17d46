"""The nginx site that operators install, deploy/nginx/aquasmart-cloud.conf, run by a real nginx before a real cloud.

Only addresses, ports and the paths of certificates are replaced; every other line is the deployed one.
"""

from __future__ import annotations

import re
import socket
import ssl
import subprocess
import time
import warnings
from contextlib import closing
from pathlib import Path

from demo.site import REPOSITORY
from tests.fakes.nginx import PROGRAM
from tests.fakes.ports import free_port
from tests.integration.transport.authority import Authority

SITE = REPOSITORY / "deploy" / "nginx" / "aquasmart-cloud.conf"
_FRAME = """
daemon off; master_process off; pid nginx.pid; error_log errors.log warn;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi;
  scgi_temp_path scgi;
{site}
}}
"""


class NginxSite:
    """Runs while it is entered, on `port` with TLS; `tls` trusts its certificate, which is for 127.0.0.1."""

    def __init__(self, folder: Path, cloud_port: int) -> None:
        self._folder, self._cloud_port = folder, cloud_port
        self.plain_port, self.port = free_port(), free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._authority = Authority(folder / "authority")
        self.tls = ssl.create_default_context(cafile=str(self._authority.certificate))

    def __enter__(self) -> NginxSite:
        pair = self._authority.issue("server")
        text = SITE.read_text()
        for pattern, value in (
            (r"^ *listen \[::\].*\n", ""),
            (r"listen 80;", f"listen 127.0.0.1:{self.plain_port};"),
            (r"listen 443 ssl;", f"listen 127.0.0.1:{self.port} ssl;"),
            (r"server 127\.0\.0\.1:8000;", f"server 127.0.0.1:{self._cloud_port};"),
            (r"/etc/ssl/aquasmart/fullchain\.pem", str(pair.certificate)),
            (r"/etc/ssl/aquasmart/privkey\.pem", str(pair.key)),
        ):
            text, found = re.subn(pattern, value, text, flags=re.MULTILINE)
            assert found, f"the deployed site has no {pattern}"
        (self._folder / "nginx.conf").write_text(_FRAME.format(site=text))
        with (self._folder / "output.log").open("wb") as output:
            command = [PROGRAM, "-p", str(self._folder), "-c", "nginx.conf", "-e", "errors.log"]
            self._process = subprocess.Popen(command, stdout=output, stderr=output)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                self.connect().close()
            except OSError:
                time.sleep(0.05)
            else:
                return self
        raise AssertionError(f"nginx did not start: {(self._folder / 'output.log').read_text()}")

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait(10)

    def connect(self, timeout_s: float = 20.0) -> ssl.SSLSocket:
        """A connection with TLS."""
        line = socket.create_connection(("127.0.0.1", self.port), timeout_s)
        return self.tls.wrap_socket(line, server_hostname="127.0.0.1")

    def version_agreed(self, most: ssl.TLSVersion) -> str | None:
        """Which TLS a client gets that speaks nothing newer than `most`. Errors: ssl.SSLError for none."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_ciphers("ALL:@SECLEVEL=0")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of the versions that we look for to be gone
            context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, most
        with (
            closing(socket.create_connection(("127.0.0.1", self.port), 20)) as line,
            context.wrap_socket(line) as wrapped,
        ):
            return wrapped.version()
