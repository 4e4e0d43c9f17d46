"""Foreign events read exactly: every stated form, every refusal, and what must never be guessed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aquasmart_cloud.core.normalising.amounts import AmountError, amount_text, from_nano, read_amount, to_nano
from aquasmart_cloud.core.normalising.event import Normalised, Rejected, normalise
from aquasmart_cloud.core.normalising.instants import InstantError, iso, read_instant
from aquasmart_cloud.core.normalising.rules import ALIASES, Rules, mapping_faults

RULES = Rules("c_acme")
GOOD: dict[str, Any] = {"source": "pos", "metric": "sale", "amount": 5, "timestamp": "2024-03-01T10:15:00Z"}
AT_NS = 1_709_288_100 * 10**9


def normalised(event: Any, rules: Rules = RULES) -> Normalised:
    found = normalise(event, rules)
    assert isinstance(found, Normalised), found
    return found


def rejected(event: Any, rules: Rules = RULES) -> dict[str, str]:
    found = normalise(event, rules)
    assert isinstance(found, Rejected), found
    return {fault.where: fault.what for fault in found.faults}


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (1200, "1200"),
        (Decimal("1200.0"), "1200"),
        ("1,200", "1200"),
        ("1200.00", "1200"),
        ("$1200", "1200"),
        ("$ 1,200.50", "1200.5"),
        ("1200 €", "1200"),
        ("+£3", "3"),
        (" 1 200 ", "1200"),
        ("1\u00a0200\u00a0300", "1200300"),
        ("1'200.25", "1200.25"),
        (".5", "0.5"),
        ("1.2e3", "1200"),
        (Decimal("1E+3"), "1000"),
        ("0.000000001", "0.000000001"),
        ("999999999999999.999999999", "999999999999999.999999999"),
    ],
)
def test_f6_amounts_are_read_exactly(written: Any, read: str) -> None:
    assert amount_text(read_amount(written)) == read


@pytest.mark.parametrize(
    ("written", "why"),
    [
        (0, "above zero"),
        ("-5", "above zero"),
        ("$-5", "above zero"),
        ("-$5", "above zero"),
        (Decimal("NaN"), "not a number"),
        ("NaN", "not a number"),
        ("Infinity", "not a number"),
        (True, "not a number"),
        (None, "not a number"),
        ([1], "not a number"),
        ("", "not a number"),
        ("twelve", "not a number"),
        ("$$5", "not a number"),
        ("$5€", "not a number"),
        ("٣", "not a number"),
        (10**15, "too large"),
        (Decimal("1E+999999"), "too large"),
        ("1e400", "too large"),
        ("0.0000000001", "decimals"),
        (Decimal("1E-999999"), "decimals"),
        ("1,20", "decimal mark"),
        ("0,125", "decimal mark"),
        ("1,2000", "decimal mark"),
        ("1,200 300", "decimal mark"),
        ("1.200,50", "decimal mark"),
        ("1.2.3", "decimal mark"),
    ],
)
def test_f9_amounts_that_are_refused(written: Any, why: str) -> None:
    with pytest.raises(AmountError, match=why):
        read_amount(written)


def test_a_client_with_decimal_commas() -> None:
    assert amount_text(read_amount("1.200,50", ",")) == "1200.5"
    assert amount_text(read_amount("€ 0,125", ",")) == "0.125"
    assert amount_text(read_amount(Decimal("1.5"), ",")) == "1.5"
    with pytest.raises(AmountError):
        read_amount("1,200.50", ",")


@given(st.integers(1, 10**24 - 1), st.sampled_from(["", "$", "€ ", " "]), st.booleans())
def test_every_amount_survives_any_way_of_writing_it(nano: int, sign: str, grouped: bool) -> None:
    plain = from_nano(nano)
    whole, dot, fraction = plain.partition(".")
    written = f"{sign}{int(whole):,}{dot}{fraction}" if grouped else f"{sign}{plain}"
    amount = read_amount(written)
    assert to_nano(amount) == nano
    assert amount_text(amount) == plain
    assert amount_text(read_amount(Decimal(plain))) == plain


@given(st.one_of(st.text(max_size=30), st.integers(), st.decimals(), st.booleans(), st.none()))
def test_any_value_is_an_amount_or_a_named_fault(value: Any) -> None:
    try:
        nano, why = to_nano(read_amount(value)), ""
    except AmountError as error:
        nano, why = 0, str(error)
    assert why or 0 < nano < 10**24


@pytest.mark.parametrize(
    "written",
    [
        "2024-03-01T10:15:00Z",
        "2024-03-01T10:15:00",
        "2024-03-01 10:15",
        "2024-03-01T11:15:00+01:00",
        "2024-03-01T15:45:00+0530",
        "2024-03-01T05:15:00.000-05",
        "20240301T101500Z",
        "2024/03/01 10:15:00",
        "2024/3/1 10:15",
        1_709_288_100,
        "1709288100",
        1_709_288_100_000,
        "1709288100000",
        Decimal("1709288100.000"),
    ],
)
def test_equal_instants_are_equal_however_they_are_written(written: Any) -> None:
    assert read_instant(written) == (AT_NS, "")


def test_a_day_alone_begins_at_midnight_utc() -> None:
    assert iso(read_instant("2024/03/01").at_ns) == iso(read_instant("2024-03-01").at_ns) == "2024-03-01T00:00:00Z"


def test_fractions_are_kept_to_the_nanosecond() -> None:
    assert iso(read_instant("2024-03-01T10:15:00.123456789Z").at_ns) == "2024-03-01T10:15:00.123456789Z"
    assert read_instant(Decimal("1709288100.25")).at_ns == AT_NS + 250_000_000
    assert read_instant(Decimal("1709288100000.5")).at_ns == AT_NS + 500_000


def test_f8_day_and_month_by_the_clients_date_order() -> None:
    day_first, month_first = read_instant("01/03/2024", "dmy"), read_instant("01/03/2024", "mdy")
    assert (iso(day_first.at_ns), iso(month_first.at_ns)) == ("2024-03-01T00:00:00Z", "2024-01-03T00:00:00Z")
    assert "day first" in day_first.assumed
    assert "month first" in month_first.assumed
    assert read_instant("13/03/2024", "dmy").assumed == read_instant("03/13/2024", "mdy").assumed == ""
    assert read_instant("03/03/2024", "dmy").assumed == ""
    with pytest.raises(InstantError, match="date order"):
        read_instant("03/13/2024", "dmy")


@pytest.mark.parametrize(
    "written",
    [
        None,
        True,
        [],
        "",
        "now",
        "yesterday",
        0,
        -1,
        20240301,
        "20240301",
        "2024-02-30",
        "2024-03-01T24:00:00Z",
        "2024-03-01T10:15:60Z",
        "2024-03-01T10:15:00+15:00",
        "2024-03-01T10:15:00 Europe/Berlin",
        "1999-12-31T23:59:59Z",
        "2100-01-01T00:00:00Z",
        "99/99/2024",
        Decimal("NaN"),
        Decimal("1E+40"),
        Decimal("1709288100.0000000001"),
        "2024-03-01T10:15:00.0000000001Z",
        "1" * 100,
    ],
)
def test_times_that_are_refused(written: Any) -> None:
    with pytest.raises(InstantError):
        read_instant(written)


@given(
    st.datetimes(datetime(2000, 1, 2), datetime(2099, 12, 30)),  # noqa: DTZ001
    st.integers(-14 * 60, 14 * 60),
    st.sampled_from(["T", " "]),
)
def test_any_zone_names_the_same_instant(at: datetime, minutes: int, between: str) -> None:
    there = at + timedelta(minutes=minutes)
    zone = f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}"
    local = there.isoformat(between, "microseconds") + zone
    expected = (at.replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 1000
    assert read_instant(local).at_ns == expected
    assert read_instant(iso(expected)).at_ns == expected
    assert read_instant(expected // 1_000_000).at_ns == expected // 1_000_000 * 1_000_000


@given(st.one_of(st.text(max_size=40), st.integers(), st.decimals(), st.none()))
def test_any_value_is_an_instant_or_a_named_fault(value: Any) -> None:
    try:
        at_ns, why = read_instant(value).at_ns, ""
    except InstantError as error:
        at_ns, why = 0, str(error)
    assert why or at_ns > 0


def test_f7_a_missing_timestamp_is_an_error_and_never_now() -> None:
    assert rejected({"metric": "sale", "amount": 5}) == {"timestamp": "is missing"}
    assert rejected({**GOOD, "timestamp": None}) == {"timestamp": "is missing"}
    assert rejected({**GOOD, "timestamp": "  "}) == {"timestamp": "is missing"}


def test_every_fault_is_named_at_once() -> None:
    assert set(rejected({"id": [1], "amount": "x", "time": "y"})) == {"id", "metric", "amount", "time"}
    assert rejected(5) == rejected([GOOD]) == rejected("text") == {"$": "an event is a JSON object"}


@pytest.mark.parametrize("alias", [(ours, name) for ours, names in ALIASES.items() for name in names])
def test_every_alias_is_known_in_any_case(alias: tuple[str, str]) -> None:
    ours, name = alias
    value = {"id": "7", "station": "demo-1", **GOOD}[ours]
    event = {key: each for key, each in GOOD.items() if key != ours}
    for written in (name, name.upper()):
        found = normalised({**event, written: value})
        document = found.document()
        assert document[ours] == ("5" if ours == "amount" else value)
        assert found.warnings == ()


def test_f12_unknown_fields_are_warnings() -> None:
    found = normalised({**GOOD, "colour": "blue", "payload": {"shade": "dark"}})
    assert found.warnings == ("unknown field 'colour' is ignored", "unknown field 'payload.shade' is ignored")
    many = normalised(GOOD | {f"x{number}": 1 for number in range(200)})
    assert len(many.warnings) == 51


def test_a_nested_payload_holds_the_event_or_the_rest_of_it() -> None:
    nested = {"client_id": "pos", "payload": {"type": "sale", "payload": {"value": "5"}, "created_at": 1_709_288_100}}
    assert normalised(nested).document() == normalised(GOOD).document()
    outer = normalised({**GOOD, "payload": {"amount": 7}})
    assert (outer.amount, outer.warnings) == (5, ("'payload.amount' is ignored: amount is taken from 'amount'",))


def test_of_two_aliases_the_first_counts_and_the_other_is_named() -> None:
    found = normalised({**GOOD, "total": 7, "name": "Coffee"})
    assert found.amount == 5
    assert set(found.warnings) == {
        "'total' is ignored: amount is taken from 'amount'",
        "'name' is ignored: metric is taken from 'metric'",
    }


def test_a_clients_own_mapping_comes_before_aliases() -> None:
    rules = Rules("c_acme", fields={"litros": "amount", "cuando.fecha": "timestamp"}, defaults={"metric": "agua"})
    found = normalised({"litros": "2.5", "amount": 9, "cuando": {"fecha": "2024-03-01", "x": 1}}, rules)
    assert (amount_text(found.amount), found.metric, found.source) == ("2.5", "agua", "c_acme")
    assert found.warnings == ("'amount' is ignored: amount is taken from 'litros'",)


def test_mappings_are_judged() -> None:
    assert mapping_faults({"litros": "amount"}, {"metric": "agua"}) == []
    assert mapping_faults([], {})
    assert mapping_faults({"litros": "volume"}, {})
    assert mapping_faults({}, {"timestamp": "now"})
    assert mapping_faults({}, {"metric": " "})


def test_texts_are_trimmed_and_ids_may_be_numbers() -> None:
    found = normalised({**GOOD, "metric": "  Sale ", "id": 17})
    assert (found.metric, found.given_id) == ("Sale", "17")
    for bad in ("x" * 201, "a\x00b", True, {"a": 1}):
        assert "metric" in rejected({**GOOD, "metric": bad})


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.decimals(), st.text(max_size=12)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from([*sum(ALIASES.values(), ()), "payload", "other"]), inner, max_size=6),
    ),
    max_leaves=12,
)


@given(JSON)
def test_whatever_is_sent_is_read_or_rejected_with_a_reason(event: Any) -> None:
    found = normalise(event, RULES)
    assert found.faults if isinstance(found, Rejected) else found.amount > 0


def test_billionths_are_exact_or_refused() -> None:
    assert to_nano(Decimal("-1.5")) == -1_500_000_000
    assert from_nano(-1_500_000_000) == "-1.5"
    for finer in ("1.0000000001", "NaN"):
        with pytest.raises(AmountError):
            to_nano(Decimal(finer))


def test_a_path_of_a_mapping_that_leads_nowhere_is_an_absent_field() -> None:
    rules = Rules("c_acme", fields={"a.b.c": "amount", "": "metric"})
    assert rejected({"a": {"b": 5}, "metric": "x", "time": "2024-03-01"}, rules) == {"amount": "is missing"}
    assert normalised({"a": {"b": {"c": 5}}, "metric": "x", "time": "2024-03-01"}, rules).amount == 5
