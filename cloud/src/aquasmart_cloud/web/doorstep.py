"""Strangers: how many wrong credentials an address may bring before it must wait, without hurting its neighbours.

Many stations may come from one address (a mobile network's NAT), and so may an attacker. So an address is refused
only where it also brings nothing that has lately been right: a station and key whose signature held, a client's token
that was accepted. Those pass to the real check whatever else comes from their address; a stranger from there is told
to wait before the database is asked, and loses nothing by it. Counted in this process, since asking another would cost
as much as the look-up that is saved. Sign-in is stricter: ten wrong tokens, and the whole address waits.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from ipaddress import ip_address

from aquasmart_cloud.core.policy import Rate
from aquasmart_cloud.core.problems import Refusal
from aquasmart_cloud.store.rates import Counter, OwnCounter

STRANGERS = Rate(300, 60_000)
"""Wrong signatures and tokens of one address."""
GUESSES = Rate(10, 60_000)
"""Wrong admin tokens and sign-in links of one address."""
MOST_KNOWN = 100_000
"""Who was right longest ago is a stranger again; it takes only one more look-up to know them."""


class Doorstep:
    """One application's strangers. `guesses` counts sign-ins, in Redis where there is one."""

    def __init__(self, guesses: Counter) -> None:
        self._guesses = guesses
        self._wrong = OwnCounter()
        self._known: OrderedDict[str, None] = OrderedDict()
        self._lock = threading.Lock()

    def refuse_flood(self, address: str, credential: str, now_ms: int) -> None:
        """Before the look-up. Errors: Refusal `rate-limited`, unsigned: it may only make a sender slower."""
        if credential in self._known:
            return
        wait_us = self._wrong.wait_us(network_of(address), STRANGERS, now_ms * 1_000, count=False)
        if wait_us:
            raise Refusal(
                "rate-limited",
                "too many requests from this address whose signature or token is not right",
                retry_after_s=-(-wait_us // 1_000_000),
            )

    def was_right(self, credential: str) -> None:
        """This credential has been verified."""
        with self._lock:
            self._known[credential] = None
            self._known.move_to_end(credential)
            if len(self._known) > MOST_KNOWN:
                self._known.popitem(last=False)

    def was_wrong(self, address: str, credential: str, now_ms: int) -> None:
        """It has not: one more for its address. Somebody who claims to be a known station does not count against it."""
        if credential not in self._known:
            self._wrong.wait_us(network_of(address), STRANGERS, now_ms * 1_000)

    def guess_wait_s(self, address: str, now_ms: int) -> int:
        """Whole seconds until this address may try to sign in; 0: now."""
        wait_us = self._guesses.wait_us(f"sign-in:{network_of(address)}", GUESSES, now_ms * 1_000, count=False)
        return -(-wait_us // 1_000_000)

    def guessed_wrong(self, address: str, now_ms: int) -> None:
        """One more wrong token or link from this address."""
        self._guesses.wait_us(f"sign-in:{network_of(address)}", GUESSES, now_ms * 1_000)


def network_of(address: str) -> str:
    """An IPv4 address as it is; of IPv6 the /64, which one customer has whole."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if found.version == 4:
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return f"{found.exploded[:19]}::/64"
