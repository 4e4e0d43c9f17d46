"""One alert as one e-mail, by the operator's own mail server. TLS always, unless the server is on this machine.

Only composing and sending; who gets one is services.alerting, when it is tried again core.delivering.
"""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import formatdate
from typing import Any

import msgspec

from aquasmart_cloud.core.delivering import Attempt

TIMEOUT_S = 20.0
STARTTLS, TLS, NONE = "starttls", "tls", "none"
"""How the connection is secured; none only for a server on this machine (config)."""

_STATES = {"alert.opened": "OPEN", "alert.closed": "over", "alert.acknowledged": "seen"}


@dataclass(frozen=True, slots=True)
class MailServer:
    """Where and as whom e-mail is handed in. `ca_file`: a private authority, else the machine's own."""

    host: str
    port: int
    security: str
    sender: str
    user: str = ""
    password: str = field(default="", repr=False)
    ca_file: str = ""
    timeout_s: float = TIMEOUT_S

    def send(self, recipient: str, delivery_id: str, body: str, now_ms: int) -> Attempt:
        """One attempt. Never raises for what the server or the network does."""
        message = compose(self.sender, recipient, delivery_id, body, now_ms)
        try:
            with self._connect() as line:
                if self.user:
                    line.login(self.user, self.password)
                line.send_message(message)
        except smtplib.SMTPRecipientsRefused as fault:
            code, said = next(iter(fault.recipients.values()), (None, b""))
            return Attempt(delivered=False, status=code, said=f"refused: {_plain(said)}")
        except smtplib.SMTPResponseException as fault:
            return Attempt(delivered=False, status=fault.smtp_code, said=_plain(fault.smtp_error))
        except (OSError, smtplib.SMTPException) as fault:
            return Attempt(delivered=False, status=None, said=f"{type(fault).__name__}: {fault}"[:300])
        return Attempt(delivered=True, status=250, said="taken by the mail server")

    def _connect(self) -> smtplib.SMTP:
        context = ssl.create_default_context(cafile=self.ca_file or None)
        if self.security == TLS:
            return smtplib.SMTP_SSL(self.host, self.port, timeout=self.timeout_s, context=context)
        line = smtplib.SMTP(self.host, self.port, timeout=self.timeout_s)
        try:
            if self.security == STARTTLS:
                line.starttls(context=context)
        except BaseException:
            line.close()
            raise
        return line


def compose(sender: str, recipient: str, delivery_id: str, body: str, now_ms: int) -> EmailMessage:
    """The message. Its Message-ID is the delivery's, so a repeated one is known as the same."""
    said: Mapping[str, Any] = msgspec.json.decode(body)
    alert: Mapping[str, Any] = said.get("alert", {})
    message = EmailMessage()
    state = _STATES.get(str(said.get("event")), "test")
    owner = alert.get("station_id", "")
    message["Subject"] = _line(
        f"[AquaSmart] {state}: {alert.get('title', said.get('text', ''))} · {owner}".rstrip(" ·")
    )
    message["From"], message["To"] = sender, recipient
    message["Date"] = formatdate(now_ms / 1000)
    message["Message-ID"] = f"<{delivery_id}@{sender.rpartition('@')[2].strip('<> ')}>"
    message["Auto-Submitted"] = "auto-generated"
    message["X-AquaSmart-Delivery"] = delivery_id
    message.set_content("\n".join(_lines(said, alert)) + "\n")
    return message


def _lines(said: Mapping[str, Any], alert: Mapping[str, Any]) -> list[str]:
    if not alert:
        return [str(said.get("text", ""))]
    lines = [f"{alert['title']}, {alert['station_id']}", "", str(alert["text"]), ""]
    lines += [f"What to do: {alert['advice']}", "", f"Since {_moment(alert['since_at'])}"]
    if alert.get("closed_at"):
        lines.append(f"Over at {_moment(alert['closed_at'])}, by {alert['closed_by']}")
    elif alert.get("acknowledged_at"):
        lines.append(f"Seen at {_moment(alert['acknowledged_at'])} by {alert['acknowledged_by']}")
    if alert.get("note"):
        lines.append(f"Note: {alert['note']}")
    return [*lines, "", f"Alert {alert['alert_id']}; 'aquasmart-cloud alerts show {alert['alert_id']}' says more."]


def _moment(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms // 1000, UTC).strftime("%d %b %Y, %H:%M UTC")


def _line(text: str) -> str:
    """One line: nothing of an alert can add a header."""
    return " ".join(text.split())[:200]


def _plain(said: bytes | str) -> str:
    return (said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said))[:300]
