"""A real nginx in front of the cloud, one port per way in which somebody on the way answers without knowing the key."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from tests.fakes.ports import free_port

PROGRAM = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin") or ""

WAYS: dict[str, str] = {
    "honest": "location / { proxy_pass http://127.0.0.1:{cloud}; }",
    "portal 200": 'default_type text/html; location / { return 200 "<html><h1>Free Wi-Fi</h1></html>"; }',
    "JSON 200": 'default_type application/json; location / { return 200 \'{{"meta":{{}},"data":{{}}}}\'; }',
    "301": "location / { return 301 https://portal.example/login; }",
    "302": "location / { return 302 http://127.0.0.1:9/login; }",
    "307": "location / { return 307 /v1/elsewhere; }",
    "400": "location / { return 400; }",
    "401": 'location / { auth_basic "staff only"; auth_basic_user_file nobody; proxy_pass http://127.0.0.1:{cloud}; }',
    "403": "location / { deny all; }",
    "404": "location / { root nowhere; }",
    "405": "location / { return 405; }",
    "409": "location / { return 409; }",
    "410": "location / { return 410; }",
    "412": "location / { return 412; }",
    "413": "client_max_body_size {body}; location / { proxy_pass http://127.0.0.1:{cloud}; }",
    "415": "location / { return 415; }",
    "422": "location / { return 422; }",
    "426": "location / { return 426; }",
    "429": "limit_req_status 429; location / { limit_req zone=slow; proxy_pass http://127.0.0.1:{cloud}; }",
    "500": "location / { return 500; }",
    "502": "location / { proxy_pass http://127.0.0.1:{dead}; }",
    "503": "location / { limit_req zone=slow; proxy_pass http://127.0.0.1:{cloud}; }",
    "504": "proxy_read_timeout 100ms; location / { proxy_pass http://127.0.0.1:{mute}; }",
}
"""Every way by its name. The codes come from what makes a proxy say so in the field, as far as there is one."""

_FRAME = """
daemon off; master_process off; pid nginx.pid; error_log errors.log warn;
events {{ worker_connections 256; }}
http {{
  access_log off; keepalive_timeout 30;
  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi;
  scgi_temp_path scgi;
  limit_req_zone $server_port zone=slow:1m rate=1r/m;
{servers}
}}
"""


class Nginx:
    """Runs while it is entered; `ports` says where each way is."""

    def __init__(self, folder: Path, cloud_port: int, *, body_bytes: int = 1) -> None:
        self._folder, self._cloud_port, self._body_bytes = folder, cloud_port, body_bytes
        self.ports: Mapping[str, int] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self._mute = socket.socket()

    def __enter__(self) -> Nginx:
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / "nobody").write_text("")
        self._mute.bind(("127.0.0.1", 0))
        self._mute.listen(16)
        numbers = {"cloud": self._cloud_port, "dead": free_port(), "mute": self._mute.getsockname()[1]}
        numbers["body"] = self._body_bytes
        self.ports = {way: free_port() for way in WAYS}
        servers = [
            f"  server {{ listen 127.0.0.1:{self.ports[name]}; {_filled(text, numbers)} }}"
            for name, text in WAYS.items()
        ]
        (self._folder / "nginx.conf").write_text(_FRAME.format(servers="\n".join(servers)))
        command = [PROGRAM, "-p", str(self._folder), "-c", "nginx.conf", "-e", "errors.log"]
        with (self._folder / "output.log").open("wb") as output:
            self._process = subprocess.Popen(command, stdout=output, stderr=output)
        self._await()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait(10)
        self._mute.close()

    def _await(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.ports["honest"]), 1).close()
            except OSError:
                time.sleep(0.05)
            else:
                return
        raise AssertionError(f"nginx did not start: {(self._folder / 'output.log').read_text()}")


def _filled(text: str, numbers: Mapping[str, int]) -> str:
    for name, number in numbers.items():
        text = text.replace(f"{{{name}}}", str(number))
    return text.replace("{{", "{").replace("}}", "}")
