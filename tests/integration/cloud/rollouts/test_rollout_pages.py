"""The pages of updates: what a person sees and may change, and what strangers, other sites and broken forms may not."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import TestResponse

from tests.fakes.rauc_bundle import MadeBundle, make_bundle
from tests.integration.cloud.rollouts.scenes import TOKEN, tell
from tests.integration.cloud.senders import CloudUnderTest


class Browser:
    """A person at the pages."""

    def __init__(self, cloud: CloudUnderTest) -> None:
        self.client = cloud.app.test_client()
        assert self.client.post("/sign-in", data={"token": TOKEN}).status_code == 303
        self.form = ""

    def see(self, path: str) -> str:
        answer = self.client.get(path)
        assert answer.status_code == 200, answer.text
        self.form = re.findall(r'name="form" value="([0-9a-f]+)"', answer.text)[0]
        return answer.text

    def send(self, path: str, **fields: Any) -> TestResponse:
        return self.client.post(path, data={"form": self.form} | fields)


@pytest.fixture
def small(tmp_path: Path) -> MadeBundle:
    """One that the test's own client keeps in memory."""
    return make_bundle(tmp_path / "small.raucb")


def test_the_pages_do_it_all(cloud: CloudUnderTest, small: MadeBundle) -> None:
    bundle = small
    sender, person = cloud.station(), Browser(cloud)
    assert "There is no bundle yet" in person.see("/rollouts")
    facts = {"version": "1.5.0", "number": "13", "compatible": "aquasmart-test"}
    file = (io.BytesIO(bundle.path.read_bytes()), "made.raucb")
    added = person.send("/bundles", **facts, file=file)
    assert added.status_code == 303, added.text
    assert "left to the stations" in person.see("/rollouts")
    begun = person.send("/rollouts", bundle=bundle.sha256, canaries="1", window="00:00-23:59", time_zone="UTC")
    assert begun.headers["Location"] == "/rollouts/1"
    tell(sender, 1, "downloading")
    assert "Downloading" in person.see("/rollouts/1")
    assert person.send("/rollouts/1/stop", reason="<b>wait</b>").status_code == 303
    assert "&lt;b&gt;wait" in person.see("/rollouts/1")
    assert person.send("/rollouts/1/resume").status_code == 303
    tell(sender, 1, "failed", "<script>")
    page = person.see("/rollouts/1")
    assert "Stopped by itself" in page
    assert "<script>" not in page.partition("<main")[2]
    assert "bad" in person.see("/rollouts")
    assert person.send("/rollouts/1/stop", reason="seen").status_code == 303
    assert person.send(f"/bundles/{bundle.sha256}/remove").status_code == 303
    assert person.client.get("/rollouts/2").status_code == 404


def test_strangers_and_other_sites_change_nothing(cloud: CloudUnderTest, small: MadeBundle, tmp_path: Path) -> None:
    bundle = small
    stranger, person = cloud.app.test_client(), Browser(cloud)
    person.see("/rollouts")
    data = bundle.path.read_bytes()

    def form(token: str) -> dict[str, Any]:
        return {"form": token, "version": "1", "number": "1", "compatible": "x", "file": (io.BytesIO(data), "b.raucb")}

    assert stranger.post("/bundles", data=form(person.form)).status_code == 303
    assert stranger.get("/rollouts").headers["Location"].startswith("/sign-in")
    assert person.client.post("/bundles", data=form("wrong")).status_code == 403
    assert person.client.post("/bundles", data=form(person.form), headers={"Origin": "https://evil"}).status_code == 403
    for path in ("/rollouts", "/rollouts/1/stop", "/rollouts/1/resume", f"/bundles/{bundle.sha256}/remove"):
        assert person.client.post(path, data={"form": "wrong"}).status_code == 403
    folder = tmp_path / "bundles"
    assert not folder.exists() or list(folder.iterdir()) == []


def test_an_upload_that_is_none_is_refused_in_words(cloud: CloudUnderTest, small: MadeBundle, tmp_path: Path) -> None:
    bundle = small
    services = cloud.app.extensions["aquasmart"]
    updates = replace(cloud.config.updates, most_bytes=300_000)
    cloud.app.extensions["aquasmart"] = replace(services, config=replace(cloud.config, updates=updates))
    person = Browser(cloud)
    person.see("/rollouts")
    data = bundle.path.read_bytes()
    facts = {"version": "1.5.0", "number": "13", "compatible": "x"}
    for fields, status, says in (
        ({"file": (io.BytesIO(data[:-5000]), "b")} | facts, 422, "no RAUC bundle"),
        ({"file": (io.BytesIO(data), "b"), "number": "many"}, 422, "whole number"),
        (facts, 415, "form with a file"),
        ({"file": (io.BytesIO(bytes(310_000)), "b")} | facts, 422, "AQUASMART_BUNDLE_MOST_MIB"),
        ({"file": (io.BytesIO(bytes(400_000)), "b")} | facts, 413, ""),
    ):
        answer = person.send("/bundles", **fields)
        assert (answer.status_code, says in answer.text) == (status, True), answer.text
    whole = person.client.post  # a body that breaks off in the middle of the file
    boundary = "----b"
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="form"\r\n\r\n{person.form}\r\n'
    head += f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="b"\r\n\r\n'
    answer = whole(
        "/bundles", data=head.encode() + data[:200_000], content_type=f"multipart/form-data; boundary={boundary}"
    )
    assert (answer.status_code, "broke off" in answer.text) == (400, True), answer.text
    assert list((tmp_path / "bundles").iterdir()) == []
