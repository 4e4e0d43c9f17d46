"""Operations in the cloud: done once by their idempotency key, whatever is repeated, edited or comes twice at once."""

from __future__ import annotations

import json
import threading
from typing import Any
from uuid import uuid4

import pytest

from aquasmart_cloud.core.operations import KEPT_MS, TYPES, decode_operation, fingerprint
from aquasmart_cloud.core.problems import Refusal
from aquasmart_cloud.store import operations
from tests.integration.cloud.operating import KEY, TIMESTAMP, UPDATE_RESULT, envelope, local_change, operate, visit
from tests.integration.cloud.senders import CloudUnderTest, Run, Sender

PAYLOADS: dict[str, tuple[str, dict[str, Any]]] = {
    "config_applied": ("", {"version": 0, "sha256": "44" * 32, "result": "applied", "reasons": []}),
    "service_visit": ("", visit()),
    "meter_change": ("/tap-1", {"change_token": "t", "changed_at": TIMESTAMP}),
    "diagnostics_bundle": ("", {"document": {"disk": {"free_bytes": 1}}}),
    "update_result": ("", UPDATE_RESULT),
}


@pytest.mark.parametrize("name", sorted(PAYLOADS))
def test_o1_each_type_is_taken_and_kept(sender: Sender, name: str) -> None:
    path, payload = PAYLOADS[name]
    answer = operate(sender, name + path, payload)
    assert answer.status_code == 200, answer.text
    [kept] = operations.listed(sender.cloud.database, sender.station_id)
    assert (kept["type"], kept["state"], kept["status"]) == (name, "done", 200)


def test_o1_every_type_of_the_table_does_something() -> None:
    from aquasmart_cloud.services.operating import _DOING

    assert set(_DOING) == set(TYPES)


def test_o2_a_parameter_of_the_path_must_not_stand_in_the_body_too(sender: Sender) -> None:
    answer = operate(sender, "meter_change/tap-1", {"meter_id": "tap-2", "change_token": "t", "changed_at": TIMESTAMP})
    assert answer.status_code == 422
    assert answer.json["errors"][0]["where"] == "$.payload.meter_id"


def test_o5_an_unknown_type_or_path_is_not_found(sender: Sender) -> None:
    assert operate(sender, "self_destruct", {}).status_code == 404
    assert operate(sender, "service_visit/extra", visit()).status_code == 404
    assert operate(sender, "meter_change", {"change_token": "t"}).status_code == 404


def test_e4_to_e8_an_envelope_without_its_ids_is_refused(sender: Sender) -> None:
    for meta in (
        None,
        {"timestamp": TIMESTAMP},
        {"trace_id": "xyz", "timestamp": TIMESTAMP},
        {"trace_id": uuid4().hex},
        {"trace_id": uuid4().hex, "timestamp": "yesterday"},
    ):
        document = {"payload": visit()} | ({} if meta is None else {"meta": meta})
        answer = operate(sender, "service_visit", {}, body=json.dumps(document).encode())
        assert (answer.status_code, answer.json["code"]) == (422, "invalid"), meta


def test_e9_to_e11_the_token_comes_back_and_the_payload_is_kept_as_it_is(sender: Sender) -> None:
    payload = visit("Ωμέγα 水 🚰 \u0000") | {"nested": {"a": [1, {"b": None}]}}
    answer = operate(sender, "service_visit", payload, trace_id="ab" * 16, txn_token="t-1")
    assert answer.json["meta"]["trace_id"] == "ab" * 16
    assert answer.json["meta"]["txn_token"] == "t-1"
    assert operations.listed(sender.cloud.database, sender.station_id)[0]["payload"] == payload


def test_every_fault_of_a_payload_is_named(sender: Sender) -> None:
    answer = operate(sender, "service_visit", {"technician": 7, "visited_at": "x"})
    assert [each["where"] for each in answer.json["errors"]] == [
        "$.payload.technician",
        "$.payload.note",
        "$.payload.visited_at",
    ]


def test_i1_the_key_must_be_a_uuid(sender: Sender) -> None:
    for key in ("1", "", "A" * 36, str(uuid4()).upper()):
        assert operate(sender, "service_visit", visit(), key=key).status_code == 422, key


def test_i9_the_same_key_and_body_get_the_first_answer_again(sender: Sender) -> None:
    key, body = str(uuid4()), envelope(visit())
    first = operate(sender, "service_visit", {}, key=key, body=body)
    sender.cloud.now_ms += 60_000
    again = operate(sender, "service_visit", {}, key=key, body=body)
    assert again.status_code == first.status_code == 200
    assert again.json["data"] == first.json["data"]
    assert again.json["meta"]["request_id"] == first.json["meta"]["request_id"]
    assert sender.cloud.one("SELECT count(*) FROM operation") == 1


def test_i9_a_refusal_is_remembered_too(cloud: CloudUnderTest, sender: Sender) -> None:
    from aquasmart_cloud.store.config_documents import Documents

    Documents(cloud.database).replace("policy", "", {"refuse": ["meters"]}, "test", cloud.now_ms)
    key, body = str(uuid4()), envelope(local_change())
    first = operate(sender, "local_change", {}, key=key, body=body, if_match="0")
    Documents(cloud.database).replace("policy", "", {}, "test", cloud.now_ms)
    again = operate(sender, "local_change", {}, key=key, body=body, if_match="0")
    assert first.status_code == again.status_code == 403
    assert first.json["errors"] == again.json["errors"] != []


def test_i12_another_body_under_the_same_key_is_refused(sender: Sender) -> None:
    key = str(uuid4())
    assert operate(sender, "service_visit", visit("one"), key=key).status_code == 200
    edited = operate(sender, "service_visit", visit("two"), key=key)
    assert (edited.status_code, edited.json["code"]) == (422, "idempotency-key-reused")
    assert operate(sender, "service_visit", visit("two")).status_code == 200


def test_c3_keys_belong_to_their_station(cloud: CloudUnderTest, sender: Sender) -> None:
    other, key = cloud.station("demo-2"), str(uuid4())
    assert operate(sender, "service_visit", visit("one"), key=key).status_code == 200
    assert operate(other, "service_visit", visit("two"), key=key).status_code == 200
    assert cloud.one("SELECT count(*) FROM operation") == 2


def _claim(sender: Sender, key: str, body: bytes, mark: str) -> Any:
    operation = decode_operation("service_visit", [], body)
    print_ = fingerprint("/v1/operations/service_visit", None, body)
    cloud = sender.cloud
    return operations.claim(cloud.database, sender.station_id, key, operation, print_, mark, cloud.now_ms)


def test_i10_while_one_works_another_is_told_so_and_a_dead_worker_is_replaced(sender: Sender) -> None:
    cloud, key, body = sender.cloud, str(uuid4()), envelope(visit())
    held = _claim(sender, key, body, "a" * 32)
    waiting = operate(sender, "service_visit", {}, key=key, body=body)
    assert (waiting.status_code, waiting.json["code"]) == (409, "operation-in-progress")
    assert waiting.headers["Retry-After"] == "2"
    # The first one died: after its time the key is taken over, and what it wakes up to do then is rolled back.
    cloud.now_ms += operations.CLAIM_MS
    assert operate(sender, "service_visit", {}, key=key, body=body).status_code == 200
    with pytest.raises(Refusal, match="taken this over"):
        _wake_up(cloud, held)
    assert cloud.one("SELECT name FROM station") != "twice"


def _wake_up(cloud: CloudUnderTest, held: operations.Claim) -> None:
    with cloud.database.writing() as connection:
        connection.execute("UPDATE station SET name = 'twice'")
        operations.finish(connection, held, 200, {})


def test_i10_ten_at_once_do_it_once(sender: Sender) -> None:
    cloud, key = sender.cloud, str(uuid4())
    cloud.now_ms += 1
    body = envelope(local_change(token="6f1f2a4e-0000-4000-8000-000000000001"))
    seen: list[int] = []

    def send() -> None:
        # A client of its own: Flask's test client is not for several threads.
        mine = Sender(_Client(cloud), sender.station_id, sender.key_id, sender.key)  # type: ignore[arg-type]
        seen.append(operate(mine, "local_change", {}, key=key, body=body, if_match="0").status_code)

    threads = [threading.Thread(target=send) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(seen) <= {200, 409}
    assert 200 in seen
    assert cloud.one("SELECT version FROM station_config") == 1
    assert cloud.one("SELECT count(*) FROM config_document") == 1


class _Client:
    def __init__(self, cloud: CloudUnderTest) -> None:
        self.client, self.now_ms = cloud.app.test_client(), cloud.now_ms


def test_i6_i11_a_key_is_forgotten_after_ninety_days(sender: Sender) -> None:
    cloud, key = sender.cloud, str(uuid4())
    assert operate(sender, "service_visit", visit("one"), key=key).status_code == 200
    cloud.now_ms += KEPT_MS - 1
    assert operate(sender, "service_visit", visit("two"), key=key).status_code == 422
    cloud.now_ms += 2
    assert operate(sender, "service_visit", visit("two"), key=key).status_code == 200
    assert cloud.one("SELECT count(*) FROM operation") == 1


def test_a_fault_in_the_work_leaves_nothing_and_frees_the_key(sender: Sender) -> None:
    cloud, key, body = sender.cloud, str(uuid4()), envelope({"received_at": TIMESTAMP})
    lost = operate(sender, "resend_event/0b9c0000-0000-4000-8000-000000000000/7", {"kind": "pour"}, key=key)
    assert (lost.status_code, lost.json["code"]) == (404, "not-found")
    assert cloud.one("SELECT count(*) FROM operation") == 0
    assert operate(sender, "notice_received/1", {}, key=key, body=body).status_code == 404


def test_a_dead_letter_sent_again_speaks_for_itself_and_adds_no_volume(sender: Sender) -> None:
    run = Run(1_000_000)
    sender.take(run.batch([1, 5, 1], rows=[{"row": 1, "kind": "gap", "data": {"reason": "dead-letter"}}]))
    before = sender.cloud.one("SELECT volume_ul FROM station")
    stream = run.header["id"]
    for _ in range(2):
        answer = operate(sender, f"resend_event/{stream}/2", {"kind": "leak", "flags": 1, "data": {"pattern": "long"}})
        assert answer.status_code == 200, answer.text
    [(kind, flags, data)] = sender.cloud.query("SELECT kind, flags, data FROM notable WHERE seq = 2")
    assert (kind, flags, json.loads(data)["pattern"]) == ("leak", 1, "long")
    assert sender.cloud.one("SELECT volume_ul FROM station") == before
    sender.cloud.assert_books_balance()
    assert operate(sender, f"resend_event/{stream}/4", {"kind": "leak"}).status_code == 404


def test_a_local_change_needs_a_version_and_a_setting(sender: Sender) -> None:
    assert operate(sender, "local_change", local_change()).status_code == 422
    assert operate(sender, "local_change", local_change() | {"key": KEY[:1]}, if_match="0").status_code == 422
