"""TLS between the real courier and real TLS servers: whom it believes, and what it says of those it does not."""

from __future__ import annotations

import os
import socket
import ssl
import time
from pathlib import Path

import pytest
from cryptography import x509

from aquasmart_station.adapters.tls import TlsSettings, context_for
from aquasmart_station.core.outcome import Answer, NoAnswer
from tests.integration.transport.authority import Authority, Pair
from tests.integration.transport.servers import (
    OK,
    answer_of,
    answering,
    courier,
    courier_threads,
    post,
    server,
    silent,
)
from tests.integration.world import eventually


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("stranger"), "Some other authority")


def ask(pair: Pair, ca: Path | None, **options: object) -> Answer | NoAnswer:
    """One request to a server that shows `pair`, by a station that trusts `ca`."""
    tls = TlsSettings(ca_file=ca)
    with server(answering(OK), pair.server(**options)) as url:  # type: ignore[arg-type]
        return post(url, tls=tls)


def test_a_pinned_authority_is_believed(authority: Authority) -> None:
    assert ask(authority.issue(), authority.certificate) == Answer(
        200, {"content-length": "2", "x-timestamp": "5"}, b"{}"
    )


REFUSED = {
    "expired": ({"days": (-9, -1)}, "has expired"),
    "not yet valid": ({"days": (1, 9)}, "is this station's clock right?"),
    "another address": ({"host": x509.DNSName("elsewhere.example")}, "another host's"),
    "self-signed": ({"self_signed": True}, "self-signed"),
}


@pytest.mark.parametrize(("wrong", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_a_wrong_certificate_is_refused_in_words(authority: Authority, wrong: dict[str, object], words: str) -> None:
    answer = ask(authority.issue("wrong", **wrong), authority.certificate)  # type: ignore[arg-type]
    assert isinstance(answer, NoAnswer)
    assert words in answer.reason
    assert not answer.timed_out


def test_a_certificate_of_another_authority_is_refused(authority: Authority, stranger: Authority) -> None:
    answer = ask(stranger.issue(), authority.certificate)
    assert isinstance(answer, NoAnswer)
    assert "authority this station does not trust" in answer.reason


def test_a_private_authority_is_not_among_the_systems(authority: Authority) -> None:
    answer = ask(authority.issue(), None)
    assert isinstance(answer, NoAnswer)
    assert "authority this station does not trust" in answer.reason


def test_a_pinned_authority_is_the_only_one(authority: Authority) -> None:
    """The system's bundle is not loaded beside it."""
    context = context_for(TlsSettings(ca_file=authority.certificate))
    assert [entry["subject"] for entry in context.get_ca_certs()] == [((("commonName", "Test authority"),),)]


def test_not_a_word_of_the_request_goes_to_who_does_not_verify(authority: Authority, stranger: Authority) -> None:
    heard: list[bytes] = []

    def listen(connection: socket.socket) -> None:
        heard.append(connection.recv(65_536))

    with server(listen, stranger.issue().server()) as url:
        answer = post(url, tls=TlsSettings(ca_file=authority.certificate))
    assert isinstance(answer, NoAnswer)
    assert not any(heard)


def test_tls_1_2_only_by_setting(authority: Authority) -> None:
    with server(answering(OK), authority.issue().server(only_1_2=True)) as url:
        refused = post(url, tls=TlsSettings(ca_file=authority.certificate))
        taken = post(url, tls=TlsSettings(ca_file=authority.certificate, tls_1_2=True))
    assert isinstance(refused, NoAnswer)
    assert "TLS 1.2" in refused.reason
    assert isinstance(taken, Answer)


def test_nothing_older_than_1_2_even_by_setting(authority: Authority) -> None:
    for allowed, oldest in ((False, ssl.TLSVersion.TLSv1_3), (True, ssl.TLSVersion.TLSv1_2)):
        context = context_for(TlsSettings(ca_file=authority.certificate, tls_1_2=allowed))
        assert context.minimum_version is oldest
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.check_hostname


def test_a_client_certificate_is_shown_where_it_is_demanded(authority: Authority, stranger: Authority) -> None:
    cloud, ours, expired = authority.issue(), authority.issue("station"), authority.issue("old", days=(-9, -1))
    theirs = stranger.issue("station")

    def ask_as(client: Pair | None) -> Answer | NoAnswer:
        tls = TlsSettings(
            authority.certificate, False, client.certificate if client else None, client.key if client else None
        )
        with server(answering(OK), cloud.server(client_ca=authority.certificate)) as url:
            return post(url, tls=tls)

    assert isinstance(ask_as(ours), Answer)
    for client, words in ((None, "asks for a client certificate"), (theirs, "does not know"), (expired, "expired")):
        answer = ask_as(client)
        assert isinstance(answer, NoAnswer)
        assert words in answer.reason


def test_a_client_certificate_may_hold_its_key_itself(authority: Authority, tmp_path: Path) -> None:
    pair, both = authority.issue("station"), tmp_path / "both.pem"
    both.write_bytes(pair.certificate.read_bytes() + pair.key.read_bytes())
    with server(answering(OK), authority.issue().server(client_ca=authority.certificate)) as url:
        assert isinstance(post(url, tls=TlsSettings(authority.certificate, False, both)), Answer)


UNUSABLE = {
    "not PEM": b"-----BEGIN NONSENSE-----\n",
    "empty": b"",
}


@pytest.mark.parametrize("content", UNUSABLE.values(), ids=UNUSABLE.keys())
def test_a_file_that_cannot_be_used_is_named(authority: Authority, tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "broken.pem"
    file.write_bytes(content)
    with server(answering(OK), authority.issue().server()) as url:
        for tls in (TlsSettings(ca_file=file), TlsSettings(authority.certificate, False, file)):
            answer = post(url, tls=tls)
            assert isinstance(answer, NoAnswer)
            assert f"{file} cannot be used" in answer.reason


def test_another_certificates_key_is_named(authority: Authority) -> None:
    one, other = authority.issue("one"), authority.issue("other")
    with server(answering(OK), authority.issue().server()) as url:
        answer = post(url, tls=TlsSettings(authority.certificate, False, one.certificate, other.key))
    assert isinstance(answer, NoAnswer)
    assert str(one.certificate) in answer.reason


def test_a_renewed_authority_is_taken_up_without_a_restart(
    authority: Authority, stranger: Authority, tmp_path: Path
) -> None:
    pinned = tmp_path / "ca.pem"
    pinned.write_bytes(stranger.certificate.read_bytes())
    with server(answering(OK), authority.issue().server()) as url:
        sender = courier(url, tls=TlsSettings(ca_file=pinned))
        assert isinstance(answer_of(sender), NoAnswer)
        fresh = tmp_path / "fresh.pem"
        fresh.write_bytes(authority.certificate.read_bytes())
        os.replace(fresh, pinned)  # noqa: PTH105
        assert isinstance(answer_of(sender), Answer)
        sender.abandon()


def test_a_plain_server_where_tls_was_expected(authority: Authority) -> None:

    def refuse(connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")

    with server(refuse) as url:
        answer = post(url.replace("http:", "https:"), tls=TlsSettings(ca_file=authority.certificate))
    assert isinstance(answer, NoAnswer)
    assert "does not speak TLS" in answer.reason


def test_a_handshake_that_drips_is_given_up_and_leaves_no_thread(authority: Authority) -> None:
    """A server's hello byte by byte: no time-out of any one read is reached."""
    before = set(courier_threads())

    def drip(connection: socket.socket) -> None:
        connection.recv(65_536)
        for byte in b"\x16\x03\x03\x40\x00" + b"\x02\x00\x3f\xfc\x03\x03" + bytes(1_000):
            connection.sendall(bytes([byte]))
            time.sleep(0.05)

    with server(drip) as url:
        sender = courier(url.replace("http:", "https:"), read_timeout_s=0.4, tls=TlsSettings(authority.certificate))
        answer = answer_of(sender)
        assert isinstance(answer, NoAnswer)
        assert answer.timed_out
        sender.abandon()
        eventually(lambda: not set(courier_threads()) - before, "the courier's thread ends")


def test_a_cut_reaches_a_line_under_tls(authority: Authority) -> None:
    before = set(courier_threads())
    with server(silent, authority.issue().server()) as url:
        sender = courier(url, read_timeout_s=60, tls=TlsSettings(authority.certificate))
        pending = sender.post("/v1/ingest", {}, b"{}")
        assert pending.wait(0.3) is None
        began = time.monotonic()
        sender.abandon()
        eventually(lambda: not set(courier_threads()) - before, "the thread ends long before its time-outs")
        assert time.monotonic() - began < 30


def test_keys_of_sessions_are_not_written_where_the_environment_says(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys"))
    with server(answering(OK), authority.issue().server()) as url:
        tls = TlsSettings(ca_file=authority.certificate, tls_1_2=True)
        assert isinstance(post(url, tls=tls), Answer)
    assert not (tmp_path / "keys").exists()
