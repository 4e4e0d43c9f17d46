"""One signed batch over the station's own courier to the real cloud, broken at every single byte.

Exhaustive where the other tests draw at random: the line is reset after each byte of the request and of the answer, and
each byte of the answer is changed. The courier may say that there was no answer, or hand over one that does not verify;
never one that verifies and differs. The cloud books the batch once, however often it came.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from aquasmart_station.adapters.http import HttpCourier, HttpSettings
from aquasmart_station.core.conversation import Identity, SignedRequest, is_signed, signed_request
from aquasmart_station.core.outcome import Answer, NoAnswer
from demo.faults import Fault
from tests.fakes.tcp_proxy import DeafHost, TcpProxy, Trouble
from tests.integration.outpost import House, Outpost
from tests.integration.wire import Message
from tests.integration.world import eventually

pytestmark = pytest.mark.e2e
INGEST = "/v1/ingest"


class Sender:
    """The station's courier on a hostile line, with one batch to deliver again and again."""

    def __init__(self, outpost: Outpost, proxy: TcpProxy, batch: Message) -> None:
        self.outpost, self.proxy, self._batch = outpost, proxy, batch
        self.identity = Identity(outpost.station_id, outpost.key_id, "0.1.0", outpost.key)
        self._courier = HttpCourier(HttpSettings(f"http://127.0.0.1:{proxy.port}", 5, 5))
        self.rows = len(batch.document()["counts"])

    def send(self, trouble: Trouble) -> tuple[SignedRequest, Answer | NoAnswer]:
        """Sign the batch afresh and send it over a connection with this trouble."""
        self.proxy.script(trouble)
        timestamp_ms = int(self._batch.header("X-Timestamp"))
        request = signed_request(self.identity, INGEST, self._batch.body, timestamp_ms, encoding="gzip")
        answer = self._courier.post(INGEST, request.headers, request.body).wait(10)
        assert answer is not None
        if isinstance(answer, Answer):
            self._courier.abandon()  # the next one gets a connection of its own
        return request, answer

    def raw_length(self) -> int:
        """Bytes of the request as the courier writes it, by looking at one."""
        self.outpost.relay.inject(Fault("looked at", forward=False, reset=True))
        self.send(Trouble())
        return len(self.outpost.ingests()[-1].request)


@pytest.fixture
def sender(make_outpost: Callable[..., Outpost]) -> Iterator[Sender]:
    outpost = make_outpost()
    outpost.take_baseline()
    outpost.await_flow(30)
    assert outpost.stop("reader") == 0
    outpost.relay.inject(Fault("captured", forward=False, reset=True))
    outpost.start("sync")
    eventually(lambda: outpost.relay.pending_faults() == 0, "a request to capture")
    outpost.kill("sync")
    outpost.kill("meter")
    with TcpProxy(outpost.relay.port) as proxy:
        yield Sender(outpost, proxy, Message.parse(outpost.ingests()[0].request))


def test_reset_after_every_byte_of_the_request(sender: Sender) -> None:
    length = sender.raw_length()
    for end in range(1, length):
        _, answer = sender.send(Trouble(f"request cut after {end}", request_bytes=end))
        assert isinstance(answer, NoAnswer), end
    assert (sender.outpost.books.events(), sender.outpost.books.marks()) == (0, {})
    # With the last byte the cloud has it all, and only the answer is lost.
    _, answer = sender.send(Trouble("whole", request_bytes=length))
    assert isinstance(answer, NoAnswer)
    eventually(lambda: sender.outpost.books.events() == sender.rows, "the batch, though nobody was told")
    assert len(sender.proxy.met) == length


def test_reset_after_every_byte_of_the_answer_and_every_byte_changed(sender: Sender) -> None:
    _, first = sender.send(Trouble())
    assert isinstance(first, Answer)
    length = len(sender.outpost.ingests()[-1].answer)
    for end in range(length):
        _, answer = sender.send(Trouble(f"answer cut after {end}", answer_bytes=end))
        assert isinstance(answer, NoAnswer), end
    unsigned = 0
    for at in range(length):
        request, answer = sender.send(Trouble(f"answer changed at {at}", flip_answer=at, idle_close_s=0.02))
        if isinstance(answer, NoAnswer):
            continue
        said = sender.outpost.ingests()[-1].answer_body
        if is_signed(sender.identity, request, answer):
            assert (answer.status, answer.body) == (200, said), f"byte {at} was changed and it verifies"
        else:
            unsigned += 1
    # Every byte of the body, of the status and of both signing headers' values is covered by the signature.
    assert unsigned >= len(first.body) + 64
    assert sender.outpost.books.events() == sender.rows


def test_a_host_that_never_answers_the_call(house: House) -> None:
    with DeafHost() as deaf:
        courier = HttpCourier(HttpSettings(f"http://127.0.0.1:{deaf.port}", connect_timeout_s=0.3, read_timeout_s=30))
        answer = courier.post(INGEST, {}, b"").wait(20)
    assert isinstance(answer, NoAnswer)
    courier = HttpCourier(HttpSettings(f"http://127.0.0.1:{house.port}", 5, 5))
    alive = courier.post(INGEST, {}, b"").wait(20)
    assert isinstance(alive, Answer)
    assert alive.status == 401
