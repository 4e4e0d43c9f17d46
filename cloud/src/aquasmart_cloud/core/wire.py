"""The shapes of v1 requests as typed structures (docs/protocol.md §3, §4, §7), for one pass of msgspec.

Shapes and simple ranges only: types, signs, lengths of text, forms of ids. What depends on several values at
once is judged by `core.decoding`. Unknown keys are ignored: a newer station may say more.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Raw, Struct, UnsetType, field

from .model import LIMIT, MAX_TEXT

Whole = Annotated[int, Meta(ge=0, le=LIMIT - 1)]
Positive = Annotated[int, Meta(ge=1, le=LIMIT - 1)]
Signed = Annotated[int, Meta(ge=1 - LIMIT, le=LIMIT - 1)]
Text = Annotated[str, Meta(max_length=MAX_TEXT)]
Name = Annotated[str, Meta(min_length=1, max_length=MAX_TEXT)]
TraceId = Annotated[str, Meta(pattern=r"\A[0-9a-f]{32}\Z")]
CanonicalUuid = Annotated[str, Meta(pattern=r"\A[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\Z")]
Rfc3339Utc = Annotated[
    str, Meta(pattern=r"\A\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(\.\d{1,9})?([Zz]|\+00:00)\Z", max_length=40)
]
Digest = Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]
Clock = Literal["ntp", "rtc", "restored", "unset"]


class WireMeta(Struct, frozen=True, gc=False):
    trace_id: TraceId


class WireIdentity(Struct, frozen=True, gc=False):
    kind: Literal["strong", "weak"]
    value: Text | None


class WireScale(Struct, frozen=True, gc=False):
    ul_num: Positive
    den: Positive


class WireStream(Struct, frozen=True, gc=False):
    """Either only `id`, or every field, or every field that is not of a meter."""

    id: CanonicalUuid
    meter_id: Name | UnsetType = UNSET
    identity: WireIdentity | UnsetType = UNSET
    epoch: CanonicalUuid | UnsetType = UNSET
    epoch_from: Whole | UnsetType = UNSET
    modulus: Positive | UnsetType | None = UNSET
    opening_counts: Whole | UnsetType = UNSET
    scale: WireScale | UnsetType = UNSET
    opened_at: Whole | UnsetType = UNSET
    boot_id: Text | UnsetType = UNSET
    meter_boot_id: Text | UnsetType | None = UNSET
    hardware_id: Text | UnsetType = UNSET
    software: Text | UnsetType = UNSET
    clock: Clock | UnsetType = UNSET
    change_token: Text | UnsetType | None = UNSET


class WireEntry(Struct, frozen=True, gc=False):
    row: Whole
    kind: Name
    data: Raw = Raw()
    seqs: Positive | UnsetType = UNSET


class WireBatch(Struct, frozen=True, gc=False):
    meta: WireMeta
    stream: WireStream
    first_seq: Positive
    at: Whole
    at_mono: Whole
    dt: list[Whole]
    wall_steps: list[tuple[Whole, Signed]]
    counts_before: Whole
    counts: list[Whole]
    flags: list[tuple[Whole, Whole]]
    rows: list[WireEntry]


class WireHeartbeatMeta(Struct, frozen=True, gc=False):
    trace_id: TraceId
    timestamp: Rfc3339Utc


class WireMeterState(Struct, frozen=True, gc=False):
    meter_id: Name
    state: Text
    counts: Whole | None


class WireHolding(Struct, frozen=True, gc=False):
    stream: CanonicalUuid
    through: Positive
    from_seq: Positive = field(name="from")
    counts_through: Whole


class WireHeartbeatPayload(Struct, frozen=True, gc=False):
    state: Text
    software: Text
    uptime_s: Whole
    clock: Clock
    pending: Whole
    oldest_pending_s: Whole | None
    meters: list[WireMeterState]
    retained_digest: Digest | UnsetType = UNSET
    retained: list[WireHolding] | UnsetType = UNSET


class WireHeartbeat(Struct, frozen=True, gc=False):
    meta: WireHeartbeatMeta
    payload: WireHeartbeatPayload


class WireHeartbeatBody(Struct, frozen=True, gc=False):
    """The same request again, for keeping its payload as it was sent."""

    payload: Raw


class WireOperationMeta(Struct, frozen=True, gc=False):
    trace_id: TraceId
    timestamp: Rfc3339Utc
    txn_token: Text | None = None


class WireOperation(Struct, frozen=True, gc=False):
    """The envelope of an operation; what the payload holds depends on its type (core.operations)."""

    meta: WireOperationMeta
    payload: dict[str, Raw]
