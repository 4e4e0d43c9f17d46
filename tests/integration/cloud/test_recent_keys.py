"""What another process changes while this one remembers: nothing is stored under it, and a second later all see it."""

from __future__ import annotations

import json
import time

import pytest

from aquasmart_cloud.store.recent import LASTS_S
from tests.integration.cloud.senders import CloudUnderTest, Run, Sender
from tests.integration.cloud.test_answers import BEAT

ELSEWHERE = {
    "revoked": (403, "UPDATE station_key SET revoked_at = 1 WHERE station_id = 'demo-1'"),
    "retired": (410, "UPDATE station SET state = 'retired' WHERE station_id = 'demo-1'"),
}


@pytest.mark.parametrize("what", ELSEWHERE)
def test_a_batch_is_refused_at_once_though_its_key_is_remembered(
    what: str, cloud: CloudUnderTest, sender: Sender
) -> None:
    run = Run(1_000_000)
    assert sender.send(run.batch([450])).status_code == 200
    stored, (status, change) = cloud.stored(), ELSEWHERE[what]
    with cloud.database.writing() as connection:
        connection.execute(change)
    refused = sender.send(run.batch([450]))
    assert (refused.status_code, refused.json["code"]) == (status, what)
    assert "X-Signature" in refused.headers
    assert cloud.stored() == stored
    assert sender.request(json.dumps(BEAT).encode(), target="/v1/heartbeat").status_code == status


def test_a_new_batch_does_not_tell_a_revoked_key_what_is_stored(cloud: CloudUnderTest, sender: Sender) -> None:
    """The key is judged before the stream: 403, not 409, whatever the batch says."""
    assert sender.send(Run(1_000_000).batch([450])).status_code == 200
    with cloud.database.writing() as connection:
        connection.execute(ELSEWHERE["revoked"][1])
    unknown = Run(1_000_000)
    unknown.batch([1])
    assert sender.send(unknown.batch([1])).status_code == 403


def test_a_demand_that_another_process_made_holds_within_a_second(cloud: CloudUnderTest, sender: Sender) -> None:
    run = Run(1_000_000)
    assert sender.send(run.batch([450])).status_code == 200
    with cloud.database.writing() as connection:
        connection.execute("INSERT INTO policy (name, value, set_at) VALUES ('minimum-version', '99.0.0', 1)")
    time.sleep(LASTS_S)
    assert sender.send(run.batch([450])).status_code == 426
