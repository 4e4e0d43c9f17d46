"""A mail server for tests, from the standard library: EHLO, STARTTLS or TLS at once, AUTH PLAIN, and what it was given.

It is asked as any mail server is; it refuses what it is told to refuse. RFC 5321 as far as smtplib goes.
"""

from __future__ import annotations

import base64
import socketserver
import ssl
import threading
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import Message
from email.policy import default
from typing import Any


@dataclass
class Mailbox:
    """What the server does and what it got."""

    context: ssl.SSLContext | None = None
    tls_at_once: bool = False
    login: tuple[str, str] | None = None
    refuse: dict[str, str] = field(default_factory=dict)
    """Verb → the answer it gets instead, `RCPT` → `550 no such user`."""
    got: list[Message] = field(default_factory=list)
    envelopes: list[tuple[str, list[str], bool]] = field(default_factory=list)
    """Sender, recipients, and whether the connection was encrypted."""


class _Talk(socketserver.StreamRequestHandler):
    timeout = 30

    def setup(self) -> None:
        self.mailbox: Mailbox = self.server.mailbox  # type: ignore[attr-defined]
        self.secure = False
        if self.mailbox.tls_at_once:
            self._secure()
        super().setup()

    def _secure(self) -> None:
        assert self.mailbox.context is not None
        self.request = self.mailbox.context.wrap_socket(self.request, server_side=True)
        self.secure = True

    def finish(self) -> None:
        super().finish()
        self.request.close()

    def _say(self, line: str) -> None:
        self.wfile.write(line.encode() + b"\r\n")
        self.wfile.flush()

    def handle(self) -> None:
        self._say("220 test mail server")
        sender, recipients, known = "", list[str](), self.mailbox.login is None
        while line := self.rfile.readline():
            verb, _, rest = line.decode().strip().partition(" ")
            verb = verb.upper()
            if verb in self.mailbox.refuse:
                self._say(self.mailbox.refuse[verb])
            elif verb in {"EHLO", "HELO"}:
                offers = ["STARTTLS"] if self.mailbox.context and not self.secure else []
                offers += ["AUTH PLAIN"] if self.mailbox.login else []
                for each in ["test", *offers][:-1]:
                    self._say(f"250-{each}")
                self._say(f"250 {['test', *offers][-1]}")
            elif verb == "STARTTLS":
                self._say("220 go on")
                self.rfile.close()
                self.wfile.close()
                self._secure()
                super().setup()
            elif verb == "AUTH":
                _, user, password = base64.b64decode(rest.partition(" ")[2]).decode().split("\0")
                known = (user, password) == self.mailbox.login
                self._say("235 welcome" if known else "535 who are you")
            elif verb == "MAIL":
                sender, recipients = rest, []
                self._say("250 ok" if known else "530 sign in first")
            elif verb == "RCPT":
                recipients.append(rest.partition("<")[2].partition(">")[0])
                self._say("250 ok")
            elif verb == "DATA":
                self._say("354 go on")
                self._take(sender, recipients)
                self._say("250 taken")
            elif verb == "QUIT":
                self._say("221 bye")
                return
            else:
                self._say("250 ok")

    def _take(self, sender: str, recipients: list[str]) -> None:
        lines = []
        while (line := self.rfile.readline()) != b".\r\n":
            assert line, "the message ends early"
            lines.append(line[1:] if line.startswith(b"..") else line)
        self.mailbox.got.append(message_from_bytes(b"".join(lines), policy=default))
        self.mailbox.envelopes.append((sender.partition("<")[2].partition(">")[0], recipients, self.secure))


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away in the middle is no fault of the server's."""


class SmtpServer:
    """`with SmtpServer(mailbox) as server` serves on a loopback port."""

    def __init__(self, mailbox: Mailbox) -> None:
        self._server = _Server(("127.0.0.1", 0), _Talk)
        self._server.mailbox = mailbox  # type: ignore[attr-defined]
        self.port = int(self._server.server_address[1])

    def __enter__(self) -> SmtpServer:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
