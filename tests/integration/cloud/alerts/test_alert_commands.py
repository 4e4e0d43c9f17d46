"""`aquasmart-cloud alerts …` and `webhook …`: what they print, their JSON, their exit codes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from aquasmart_cloud.cli import main
from tests.fakes.webhook_receiver import OK, WebhookReceiver, answer
from tests.integration.cloud.alerts.scenes import Watchful, beat
from tests.integration.cloud.senders import MASTER_KEY, CloudUnderTest, Sender

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(cloud: CloudUnderTest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    for name, text in (("master.key", MASTER_KEY.hex()), ("admin.token", "correct-horse-battery-staple")):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o600)
    monkeypatch.setenv("AQUASMART_MASTER_KEY_FILE", str(tmp_path / "master.key"))
    monkeypatch.setenv("AQUASMART_DATABASE_URL", cloud.database.url)
    monkeypatch.setenv("AQUASMART_WEBHOOK_ALLOW", "127.0.0.0/8")

    def run(*words: str) -> tuple[int, str, str]:
        done = CliRunner().invoke(main, words)
        return done.exit_code, done.stdout, done.stderr

    return run


def lines(text: str) -> list[Any]:
    return [json.loads(line) for line in text.splitlines()]


def test_alerts_are_listed_shown_seen_and_closed(command: Command, watchful: Watchful, sender: Sender) -> None:
    assert command("alerts", "list") == (0, "none: nothing is wrong that this cloud knows of\n", "")
    assert command("alerts", "list", "--json") == (0, "", "")
    beat(sender, dead_letters=2)
    watchful.look()
    _, said, _ = command("alerts", "list")
    assert said.startswith("demo-1.1  open  warning  Events refused for good: ")
    [listed] = lines(command("alerts", "list", "--json", "--kind", "dead-letters", "--station", "demo-1")[1])
    assert listed["alert_id"] == "demo-1.1"
    assert listed["figures"] == {"number": 2}
    assert command("alerts", "list", "--json", "--kind", "leak")[1] == ""
    assert "what to do: " in command("alerts", "show", "demo-1.1")[1]
    [seen] = lines(command("alerts", "acknowledge", "demo-1.1", "--note", "on my way", "--json")[1])
    assert (seen["state"], seen["acknowledged_by"], seen["note"]) == ("acknowledged", "command line", "on my way")
    status, said, _ = command("alerts", "close", "demo-1.1")
    assert status == 0
    assert "closed " in said
    assert "note: on my way" in said
    assert command("alerts", "list", "--json") == (0, "", "")
    assert len(lines(command("alerts", "list", "--all", "--json")[1])) == 1


@pytest.mark.parametrize("words", [("show",), ("acknowledge",), ("close",)])
def test_an_alert_that_there_is_not(words: tuple[str, ...], command: Command) -> None:
    for name in ("demo-1.7", "nonsense"):
        status, _, said = command("alerts", *words, name)
        assert status == 1
        assert f"there is no alert {name}" in said
        assert "alerts list --all" in said


def test_thresholds(command: Command, sender: Sender) -> None:
    assert command("alerts", "set", "offline.after_s=1800", "leak.enabled=0")[0] == 0
    assert command("alerts", "set", "--group", "market", "offline.after_s=60")[0] == 0
    _, text, _ = command("alerts", "set", "--station", "demo-1", "offline.clear_s=5", "--json")
    assert lines(text) == [{"scope": "station", "subject": "demo-1", "set": {"offline.clear_s": 5}}]
    _, said, _ = command("alerts", "settings")
    assert "offline: opens after 1800 s, over after 120 s" in said
    assert "leak: opens after 0 s, over after 300 s  (off)" in said
    assert "set for group market: offline.after_s=60" in said
    command("alerts", "set", "--unset", "leak.enabled")
    [shown] = lines(command("alerts", "settings", "--json")[1])
    assert shown["fleet"]["leak"]["enabled"] is True
    assert len(shown["set"]) == 3
    assert "there is no station nobody" in command("alerts", "set", "--station", "nobody", "leak.enabled=0")[2]
    assert command("alerts", "set", "comet.after_s=1")[0] == 1
    assert command("alerts", "set")[0] == 2
    assert command("alerts", "set", "--group", "a", "--station", "b", "leak.enabled=0")[0] == 2


def test_a_webhook_is_added_tested_and_removed(command: Command) -> None:
    assert "no webhooks yet" in command("webhook", "list")[1]
    assert command("webhook", "deliveries") == (0, "none\n", "")
    with WebhookReceiver() as receiver:
        [made] = lines(command("webhook", "add", receiver.url, "--kind", "leak", "--json")[1])
        [[listed]] = [each["webhooks"] for each in lines(command("webhook", "list", "--json")[1])]
        assert (listed["webhook_id"], listed["kinds"], listed["enabled"]) == (made["webhook_id"], ["leak"], True)
        assert made["secret"] not in command("webhook", "list")[1]
        status, said, _ = command("webhook", "test", made["webhook_id"])
        assert (status, "delivered" in said) == (0, True)
        assert json.loads(receiver.got[0].body)["event"] == "test"
        receiver.behave = lambda _: answer(500)
        status, said, wrong = command("webhook", "test", made["webhook_id"], "--json")
        assert status == 1
        assert "was not taken" in wrong
        assert json.loads(said.splitlines()[0])["status"] == 500
        assert "500 Whatever; again at" in command("webhook", "deliveries")[1]
        assert [each["state"] for each in lines(command("webhook", "deliveries", "--json")[1])] == [
            "waiting",
            "delivered",
        ]
        for word in ("disable", "enable", "remove"):
            assert command("webhook", word, made["webhook_id"])[0] == 0
    for word in ("test", "remove", "enable"):
        status, _, wrong = command("webhook", word, made["webhook_id"])
        assert status == 1
        assert "there is no webhook" in wrong


def test_failed_deliveries_are_retried_under_their_ids(command: Command, cloud: CloudUnderTest) -> None:
    with WebhookReceiver(lambda _: answer(500)) as receiver:
        [made] = lines(command("webhook", "add", receiver.url, "--json")[1])
        for _ in range(2):
            command("webhook", "test", made["webhook_id"])
        with cloud.database.writing() as connection:
            connection.execute("UPDATE outbox SET state = 'failed'")
        failed = [
            each["delivery_id"] for each in lines(command("webhook", "deliveries", "--state", "failed", "--json")[1])
        ]
        assert len(failed) == 2
        assert lines(command("webhook", "retry", failed[0], "--json")[1]) == [{"retried": [failed[0]]}]
        assert "has not failed" in command("webhook", "retry", failed[0])[2]
        assert "1 are tried again" in command("webhook", "retry", "--all")[1]
        assert command("webhook", "retry")[0] == 2
        receiver.behave = lambda _: OK
        status, said, _ = command("worker", "--once", "--json")
        assert status == 0, said
        assert {each.delivery_id for each in receiver.got[-2:]} == set(failed)


@pytest.mark.parametrize("url", ["ftp://example.org", "https://user:pass@example.org/", "example.org"])
def test_what_is_no_address_is_refused(url: str, command: Command) -> None:
    status, _, said = command("webhook", "add", url)
    assert status == 1
    assert "Error" in said


def test_the_secret_in_words(command: Command) -> None:
    status, said, _ = command("webhook", "add", "https://example.org/hook")
    assert status == 0
    assert "shown this once" in said
    assert len(said.splitlines()[1]) == 64
