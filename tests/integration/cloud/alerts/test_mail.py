"""E-mails by a real SMTP conversation: encrypted, signed in, one for each recipient, and what goes wrong said."""

from __future__ import annotations

from email.message import Message
from pathlib import Path
from typing import Any

import pytest

from aquasmart_cloud.config import Config
from aquasmart_cloud.config_telling import Telling
from aquasmart_cloud.core.errors import ConfigError
from aquasmart_cloud.outgoing.mailing import NONE, STARTTLS, TLS, MailServer
from aquasmart_cloud.services import alert_changes
from aquasmart_cloud.services.delivering import Delivering
from aquasmart_cloud.store import outbox
from tests.fakes.smtp_server import Mailbox, SmtpServer
from tests.integration.cloud.alerts.scenes import Watchful, beat
from tests.integration.cloud.senders import MASTER_KEY, CloudUnderTest, Sender
from tests.integration.transport.authority import Authority


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


def post(cloud: CloudUnderTest, sender: Sender, mail: MailServer, *recipients: str) -> list[str]:
    """Let an alert open and be told; the states of what was told."""
    telling = Telling(mail=mail, recipients=recipients or ("ada@example.org",))
    watchful = Watchful(cloud, telling)
    beat(sender, dead_letters=2)
    watchful.look()
    Delivering(cloud.database, watchful.webhooks, telling).cycle(cloud.now_ms)
    return sorted(row[0] for row in cloud.query("SELECT state FROM outbox"))


@pytest.mark.parametrize("security", [STARTTLS, TLS])
def test_an_alert_by_encrypted_and_signed_in_mail(
    security: str, cloud: CloudUnderTest, sender: Sender, authority: Authority
) -> None:
    box = Mailbox(context=authority.issue().server(), tls_at_once=security == TLS, login=("us", "secret"))
    with SmtpServer(box) as server:
        ca_file = str(authority.certificate)
        mail = MailServer("127.0.0.1", server.port, security, "alerts@example.org", "us", "secret", ca_file)
        assert post(cloud, sender, mail, "ada@example.org", "ben@example.org") == ["delivered", "delivered"]
    assert sorted(each[1] for each in box.envelopes) == [["ada@example.org"], ["ben@example.org"]]
    assert all(secure for *_, secure in box.envelopes)
    message = box.got[0]
    assert message["Subject"] == "[AquaSmart] OPEN: Events refused for good · demo-1"
    assert message["From"] == "alerts@example.org"
    assert message["Message-ID"] == f"<{message['X-AquaSmart-Delivery']}@example.org>"
    text = _text(message)
    assert "2 of them" in text
    assert "What to do:" in text
    assert "aquasmart-cloud alerts show demo-1.1" in text


def _text(message: Message) -> str:
    payload: Any = message.get_payload(decode=True)
    return bytes(payload).decode()


def test_what_closes_and_is_seen_is_told_too(cloud: CloudUnderTest, sender: Sender) -> None:
    box = Mailbox()
    with SmtpServer(box) as server:
        mail = MailServer("127.0.0.1", server.port, NONE, "alerts@example.org")
        post(cloud, sender, mail)
        telling = Telling(mail=mail, recipients=("ada@example.org",))
        people = alert_changes.people(telling)
        for change, note in ((alert_changes.acknowledge, "on my way"), (alert_changes.close, None)):
            cloud.now_ms += 1_000
            change(cloud.database, people, "demo-1.1", "ada", note, cloud.now_ms)
            change(cloud.database, people, "demo-1.1", "ada", note, cloud.now_ms)
            Delivering(cloud.database, Watchful(cloud).webhooks, telling).cycle(cloud.now_ms)
    assert [str(each["Subject"]).split(":")[0] for each in box.got] == [
        "[AquaSmart] OPEN",
        "[AquaSmart] seen",
        "[AquaSmart] over",
    ]
    assert "Note: on my way" in _text(box.got[1])


@pytest.mark.parametrize(
    ("box", "said"),
    [
        (Mailbox(refuse={"RCPT": "550 no such user"}), "no such user"),
        (Mailbox(refuse={"DATA": "451 later"}), "later"),
        (Mailbox(login=("us", "another")), "who are you"),
    ],
    ids=["recipient", "data", "login"],
)
def test_what_the_server_refuses_is_said_and_tried_again(
    box: Mailbox, said: str, cloud: CloudUnderTest, sender: Sender
) -> None:
    with SmtpServer(box) as server:
        user = ("us", "secret") if box.login else ("", "")
        assert post(cloud, sender, MailServer("127.0.0.1", server.port, NONE, "a@example.org", *user)) == ["waiting"]
    assert said.lower() in cloud.one("SELECT said FROM outbox").lower()
    assert cloud.one("SELECT attempts FROM outbox") == 1


@pytest.mark.parametrize("trusted", [False, True])
def test_without_an_authority_that_is_trusted_nothing_is_sent(
    trusted: bool,
    cloud: CloudUnderTest,
    sender: Sender,
    authority: Authority,
    tmp_path: Path,
) -> None:
    box = Mailbox(context=(authority if trusted else Authority(tmp_path / "other")).issue().server())
    with SmtpServer(box) as server:
        mail = MailServer("127.0.0.1", server.port, STARTTLS, "a@example.org", ca_file=str(authority.certificate))
        assert post(cloud, sender, mail) == (["delivered"] if trusted else ["waiting"])
    assert bool(box.got) == trusted


def test_a_server_that_offers_no_encryption_gets_nothing(cloud: CloudUnderTest, sender: Sender) -> None:
    box = Mailbox()
    with SmtpServer(box) as server:
        assert post(cloud, sender, MailServer("127.0.0.1", server.port, STARTTLS, "a@example.org")) == ["waiting"]
    assert box.got == []


def test_an_address_that_is_no_longer_configured_is_told_nothing(cloud: CloudUnderTest, sender: Sender) -> None:
    nowhere = MailServer("127.0.0.1", 1, NONE, "a@example.org", timeout_s=1.0)
    assert post(cloud, sender, nowhere) == ["waiting"]
    cloud.now_ms += 60_000
    Delivering(cloud.database, Watchful(cloud).webhooks, Telling()).cycle(cloud.now_ms)
    assert cloud.query("SELECT state, said FROM outbox") == [
        ("failed", "AQUASMART_MAIL_TO no longer names this address")
    ]
    assert outbox.page(cloud.database, "failed", None, 9)[0].target == "mailto:ada@example.org"


def environment(folder: Path, **settings: str) -> dict[str, str]:
    for name, text in (("master.key", MASTER_KEY.hex()), ("admin.token", "correct-horse-battery-staple"), ("pw", "x")):
        (folder / name).touch(mode=0o600)
        (folder / name).write_text(text)
    return {"AQUASMART_MASTER_KEY_FILE": str(folder / "master.key")} | settings


def test_the_settings_of_mail(tmp_path: Path) -> None:
    found = Config.from_environment(
        environment(
            tmp_path,
            AQUASMART_SMTP_URL="smtps://us%40example.org@mail.example.org",
            AQUASMART_SMTP_PASSWORD_FILE=str(tmp_path / "pw"),
            AQUASMART_MAIL_FROM="alerts@example.org",
            AQUASMART_MAIL_TO="ada@example.org, ben@example.org",
            AQUASMART_MAIL_KINDS="leak,offline",
            AQUASMART_WEBHOOK_ALLOW="10.0.0.0/8",
            AQUASMART_DELIVERY_DAYS="7",
        )
    ).telling
    mail = found.mail
    assert mail is not None
    assert (mail.host, mail.port, mail.security, mail.user, mail.password) == (
        "mail.example.org",
        465,
        TLS,
        "us@example.org",
        "x",
    )
    assert "'x'" not in repr(mail)
    assert found.recipients == ("ada@example.org", "ben@example.org")
    assert found.mail_kinds == {"leak", "offline"}
    assert found.give_up_ms == 7 * 86_400_000


@pytest.mark.parametrize(
    "settings",
    [
        {"AQUASMART_SMTP_URL": "http://mail.example.org"},
        {"AQUASMART_SMTP_URL": "smtp://us:secret@mail.example.org", "AQUASMART_MAIL_FROM": "a@example.org"},
        {"AQUASMART_SMTP_URL": "smtp://us@mail.example.org", "AQUASMART_MAIL_FROM": "a@example.org"},
        {"AQUASMART_SMTP_URL": "smtp://mail.example.org", "AQUASMART_MAIL_FROM": "nobody"},
        {"AQUASMART_SMTP_URL": "smtp+plain://mail.example.org", "AQUASMART_MAIL_FROM": "a@example.org"},
        {"AQUASMART_SMTP_URL": "smtp://mail.example.org:x", "AQUASMART_MAIL_FROM": "a@example.org"},
        {"AQUASMART_MAIL_TO": "ada@example.org"},
        {"AQUASMART_MAIL_TO": "ada@example.org\r\nBcc: all@example.org"},
        {"AQUASMART_MAIL_KINDS": "comet"},
        {"AQUASMART_WEBHOOK_ALLOW": "everywhere"},
        {"AQUASMART_DELIVERY_DAYS": "0"},
    ],
    ids=str,
)
def test_settings_that_cannot_be_meant_are_named(settings: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="|".join(settings)):
        Config.from_environment(environment(tmp_path, **settings))
