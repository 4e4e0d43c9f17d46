"""The operator's command and its configuration, as another process runs them."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from aquasmart_cloud.cli import main
from aquasmart_cloud.config import Config, initialise
from aquasmart_cloud.core.errors import ConfigError


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("AQUASMART_DATABASE_URL", "AQUASMART_ADMIN_TOKEN_FILE", "AQUASMART_BIND"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AQUASMART_MASTER_KEY_FILE", str(tmp_path / "cloud" / "master.key"))
    return tmp_path / "cloud"


def run(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(main, list(arguments))
    assert result.exit_code == code, result.output
    return result


@pytest.fixture
def ready(state: Path) -> Path:
    run("init", str(state))
    run("db", "upgrade")
    return state


def test_init_makes_secrets_that_nobody_else_reads_and_never_replaces_them(state: Path) -> None:
    result = json.loads(run("init", str(state), "--json").output)
    assert set(result["files"].values()) == {True}
    texts = {name: (state / name).read_text() for name in ("master.key", "admin.token")}
    for name in texts:
        assert stat.S_IMODE((state / name).stat().st_mode) == 0o600
    assert len(bytes.fromhex(texts["master.key"])) == 32
    assert "kept" in run("init", str(state)).output
    assert {name: (state / name).read_text() for name in texts} == texts


def test_a_station_from_its_key_to_its_retirement(ready: Path) -> None:
    added = json.loads(run("station", "add", "demo-1", "--name", "Market", "--json").output)
    assert set(added) == {"station_id", "key_id", "key"}
    assert len(bytes.fromhex(added["key"])) == 32
    rotated = json.loads(run("station", "rotate-key", "demo-1", "--json").output)
    assert rotated["key_id"] != added["key_id"]
    assert rotated["key"] != added["key"]
    shown = json.loads(run("station", "show", "demo-1", "--json").output)
    assert [key["revoked_at"] for key in shown["keys"]] == [None, None]
    assert added["key"] not in run("station", "show", "demo-1").output
    revoked = json.loads(run("station", "revoke", "demo-1", "--key", "k1", "--json").output)
    assert revoked["revoked"] == ["k1"]
    assert "revoked: k2" in run("station", "revoke", "demo-1").output
    assert "nothing was active" in run("station", "revoke", "demo-1").output
    assert "retired" in run("station", "retire", "demo-1").output
    [listed] = json.loads(run("station", "list", "--json").output)["stations"]
    assert (listed["state"], listed["name"]) == ("retired", "Market")
    assert "demo-1  retired" in run("station", "list").output


def test_totals_are_what_others_script_against(ready: Path) -> None:
    assert json.loads(run("totals", "--json").output) == {"stations": [], "volume_ul": 0}
    run("station", "add", "demo-1")
    assert json.loads(run("totals", "--json").output) == {
        "stations": [{"station_id": "demo-1", "events": 0, "volume_ul": 0}],
        "volume_ul": 0,
    }
    assert "total  0.000000 l" in run("totals").output


def test_a_sign_in_link_is_stored_by_its_digest(ready: Path) -> None:
    link = json.loads(run("sign-in-link", "--base-url", "https://cloud.example/", "--json").output)
    assert link["url"] == f"https://cloud.example/sign-in/{link['token']}"
    assert all(link["token"].encode() not in file.read_bytes() for file in ready.glob("cloud.db*"))
    assert run("sign-in-link").output.startswith("http://127.0.0.1:8000/sign-in/")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("station", "add", "Demo 1"), ["a-z, 0-9"]),
        (("station", "add", "demo-1"), ["already there", "rotate-key"]),
        (("station", "show", "demo-9"), ["no station demo-9", "station list"]),
        (("station", "rotate-key", "demo-9"), ["no station demo-9"]),
        (("station", "retire", "demo-9"), ["no station demo-9"]),
        (("station", "revoke", "demo-1", "--key", "k9"), ["no active key k9", "k1"]),
    ],
)
def test_errors_say_what_to_do_next(arguments: tuple[str, ...], said: list[str], ready: Path) -> None:
    run("station", "add", "demo-1")
    output = run(*arguments, code=1).output
    assert all(text in output for text in said), output
    assert "Traceback" not in output


def test_a_command_before_the_database_exists_names_the_remedy(state: Path) -> None:
    run("init", str(state))
    assert "aquasmart-cloud db upgrade" in run("totals", code=1).output
    assert not (state / "cloud.db").exists()


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    output = run("init", str(tmp_path / "file" / "below"), code=1).output
    assert "Traceback" not in output


FAULTS = {
    "nothing set": ({}, ["AQUASMART_MASTER_KEY_FILE is not set"]),
    "no files": (
        {"AQUASMART_MASTER_KEY_FILE": "/nonexistent/master.key"},
        ["master key", "admin token", "init"],
    ),
    "everything wrong": (
        {
            "AQUASMART_ADMIN_TOKEN_FILE": "/nonexistent/token",
            "AQUASMART_DATABASE_URL": "mysql://x/y",
            "AQUASMART_BIND": "8000",
        },
        ["AQUASMART_MASTER_KEY_FILE is not set", "/nonexistent/token", "mysql", "HOST:PORT"],
    ),
    "no URL": ({"AQUASMART_DATABASE_URL": "cloud.db"}, ["AQUASMART_DATABASE_URL"]),
    "no file": ({"AQUASMART_DATABASE_URL": "sqlite://"}, ["names no file"]),
}


@pytest.mark.parametrize("name", FAULTS)
def test_every_fault_of_the_configuration_is_named_at_once(name: str) -> None:
    environment, said = FAULTS[name]
    with pytest.raises(ConfigError) as caught:
        Config.from_environment(environment)
    assert all(any(text in fault for fault in caught.value.faults) for text in said), caught.value.faults


SECRETS = {
    "readable by others": ("master.key", None, 0o640, "chmod 600"),
    "a short master key": ("master.key", "ab" * 31, 0o600, "64 hex digits"),
    "no hex": ("master.key", "zz" * 32, 0o600, "64 hex digits"),
    "a master key of zeros": ("master.key", "00" * 32, 0o600, "default"),
    "an empty master key": ("master.key", "", 0o600, "64 hex digits"),
    "a short token": ("admin.token", "Hunter-2", 0o600, "at least 16"),
    "a default token": ("admin.token", "please-changeme-now", 0o600, "default"),
    "a token of one letter": ("admin.token", "a" * 40, 0o600, "default"),
    "a token for everybody": ("admin.token", None, 0o604, "readable by others"),
    "a token that is no text": ("admin.token", "\u6c34" * 20, 0o600, "plain text"),
}


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_that_is_none_is_refused_without_being_shown(name: str, tmp_path: Path) -> None:
    file, text, mode, said = SECRETS[name]
    initialise(tmp_path)
    if text is not None:
        (tmp_path / file).write_text(text)
    (tmp_path / file).chmod(mode)
    with pytest.raises(ConfigError) as caught:
        Config.from_environment({"AQUASMART_MASTER_KEY_FILE": str(tmp_path / "master.key")})
    [fault] = caught.value.faults
    assert said in fault
    secret = (tmp_path / file).read_text().strip()
    assert not secret or secret not in fault


def test_a_folder_is_no_secret(tmp_path: Path) -> None:
    initialise(tmp_path)
    with pytest.raises(ConfigError):
        Config.from_environment(
            {"AQUASMART_MASTER_KEY_FILE": str(tmp_path / "master.key"), "AQUASMART_ADMIN_TOKEN_FILE": str(tmp_path)}
        )


def test_a_good_configuration_hides_its_secrets(tmp_path: Path) -> None:
    initialise(tmp_path)
    config = Config.from_environment({"AQUASMART_MASTER_KEY_FILE": str(tmp_path / "master.key")})
    assert config.database_url == f"sqlite:///{tmp_path / 'cloud.db'}"
    assert config.admin_token not in repr(config)
    assert repr(config.master_key) not in repr(config)


def test_gunicorn_ends_with_78_before_anything_listens(tmp_path: Path) -> None:
    settings = Path(__file__).parents[3] / "deploy" / "gunicorn.conf.py"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AQUASMART_")}
    result = subprocess.run(
        [
            sys.executable,
            "-m",
            "gunicorn",
            "-c",
            str(settings),
            "aquasmart_cloud:create_app()",
        ],
        env=environment | {"AQUASMART_DATABASE_URL": "sqlite://"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == 78
    assert "AQUASMART_MASTER_KEY_FILE is not set" in result.stderr
    assert "names no file" in result.stderr
    assert "Listening" not in result.stderr


def test_the_application_itself_refuses_to_start(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from aquasmart_cloud import create_app

    monkeypatch.delenv("AQUASMART_MASTER_KEY_FILE", raising=False)
    with pytest.raises(SystemExit) as caught:
        create_app()
    assert caught.value.code == 78
    assert "is not set" in capsys.readouterr().err
