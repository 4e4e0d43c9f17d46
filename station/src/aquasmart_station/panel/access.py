"""Who may look, and who may act: by the network they come from, and by the PIN.

Looking needs a place in one of the panel's networks; acting also a session, which the PIN opens. Names are checked as
well as addresses: a page from elsewhere, in a technician's own browser, could otherwise reach us under a name that
its owner points at this station (DNS rebinding).
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from pathlib import Path

from flask import abort, request, session

from ..adapters.panel_state import PanelState
from ..core.phrases import Phrase
from ..core.pin import matches
from ..core.signing import same

SESSION_S = 900


class Access:
    """The rules, with what they need to be kept. The constructor stores its arguments."""

    def __init__(self, networks: Sequence[str], station_id: str, pin_file: Path, state: PanelState) -> None:
        self._networks: list[IPv4Network | IPv6Network] = [ip_network(each) for each in networks]
        self._names = {"localhost", "aquasmart", "aquasmart.local", station_id, f"{station_id}.local"}
        self._pin_file, self._state = pin_file, state

    def check(self) -> None:
        """Before every request. Ends it with 403 from outside, 400 under a name that is not ours."""
        if not self._near(request.remote_addr or ""):
            abort(403, Phrase("this page is for the station's own network only"))
        if not self._ours(request.host):
            abort(400, Phrase("open this page by the station's address or as aquasmart.local"))

    def _near(self, text: str) -> bool:
        try:
            address = ip_address(text.partition("%")[0])
        except ValueError:
            return False
        if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return any(address in network for network in self._networks)

    def _ours(self, host: str) -> bool:
        name = host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
        try:
            ip_address(name.strip("[]"))
        except ValueError:
            return name.lower() in self._names
        return True

    @property
    def has_pin(self) -> bool:
        return bool(self._kept())

    def _kept(self) -> str:
        try:
            return self._pin_file.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError):
            return ""

    def open(self, pin: str) -> str:
        """Open a session with the PIN: empty where it did, else why not. Raises OSError where it cannot count tries."""
        kept = self._kept()
        if not kept:
            return Phrase("no PIN is set on this station: aquasmart pin set")
        wait_s = self._state.begin_try(int(time.clock_gettime(time.CLOCK_BOOTTIME)))
        if wait_s:
            return Phrase("too many wrong PINs: wait {n} s", n=wait_s)
        if not matches(pin, kept):
            return Phrase("this is not the PIN")
        self._state.forgive()
        session.clear()
        session["until"] = int(time.clock_gettime(time.CLOCK_BOOTTIME)) + SESSION_S
        session["form"] = secrets.token_urlsafe(16)
        return ""

    @property
    def may_act(self) -> bool:
        return int(session.get("until", 0)) > int(time.clock_gettime(time.CLOCK_BOOTTIME))

    @property
    def form_token(self) -> str:
        return str(session.get("form", "")) if self.may_act else ""

    def check_form(self) -> None:
        """Before every action. Ends it with 403 without a session or with a form that is not from its page."""
        token = self.form_token
        if not token or not same(token, request.form.get("form", "")):
            abort(403, Phrase("enter the PIN first"))
