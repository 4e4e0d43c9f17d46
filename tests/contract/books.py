"""A cloud in miniature: marks and books of one station as docs/protocol.md §4–5 words them, position by position.

It keeps every single count in a dictionary, which no product could, and so needs none of the interval
arithmetic that it is there to check. Well-formed batches only.
"""

from __future__ import annotations

from typing import Any

from tests.contract.reference import volume_ul

TAKEN_OVER = {"catch_up", "gap"}


class Books:
    """What a cloud must hold after the batches it was given."""

    def __init__(self) -> None:
        self.events = 0
        self._streams: dict[str, dict[str, Any]] = {}
        self._booked: dict[tuple[str, str], dict[int, tuple[int, str]]] = {}
        self._began: dict[tuple[str, str], int] = {}
        self._overlap_ul = 0
        self._others: set[str] = set()

    def take(self, document: dict[str, Any]) -> dict[str, Any]:
        """The expected answer: status, and code or data."""
        stream_id = document["stream"]["id"]
        known = self._streams.get(stream_id)
        if known is None and len(document["stream"]) == 1:
            return {"status": 409, "code": "stream-unknown"}
        stream = known or {"header": document["stream"], "mark": 0, "rows": {}}
        opening = stream["header"].get("opening_counts", 0)
        stream.setdefault("counts", opening)
        if document["first_seq"] > stream["mark"] + 1:
            said = {"expected_seq": stream["mark"] + 1, "counts_through": stream["counts"]}
            return {"status": 409, "code": "sequence-gap", **said}
        self._streams[stream_id] = stream
        inserted, duplicates = self._rows(stream, document)
        self.events += inserted
        scale = stream["header"].get("scale")
        cumulative = volume_ul(opening, stream["counts"], scale["ul_num"], scale["den"]) if scale else 0
        data = {
            "stream": stream_id,
            "acked_through": stream["mark"],
            "inserted": inserted,
            "duplicates": duplicates,
            "counts_through": stream["counts"],
            "cumulative_ul": cumulative,
        }
        return {"status": 200, "data": data}

    def _rows(self, stream: dict[str, Any], document: dict[str, Any]) -> tuple[int, int]:
        listed = {entry["row"]: entry for entry in document["rows"]}
        seq, position = document["first_seq"] - 1, document["counts_before"]
        inserted = duplicates = 0
        for index, counts in enumerate(document["counts"]):
            entry = listed.get(index, {"kind": "volume"})
            before, seq_before = position, seq
            seq, position = seq + entry.get("seqs", 1), position + counts
            said = (seq_before, counts, entry["kind"], entry.get("data"))
            if seq <= stream["mark"]:
                duplicates += seq - seq_before
                if stream["rows"].get(seq, said) != said and stream["rows"][seq][0] == seq_before:
                    self._others.add("row-difference")
                if seq == stream["mark"] and position != stream["counts"]:
                    self._others.add("claim-difference")
                continue
            if seq_before < stream["mark"]:
                duplicates += stream["mark"] - seq_before
                before = stream["counts"]
            elif before != stream["counts"]:
                self._others.add("claim-difference")
            inserted += seq - max(seq_before, stream["mark"])
            self._book(stream["header"], entry["kind"], before, position)
            stream["rows"][seq] = said
            stream["mark"], stream["counts"] = seq, position
        return inserted, duplicates

    def _book(self, header: dict[str, Any], kind: str, before: int, position: int) -> None:
        if "meter_id" not in header:
            return
        key = (header["meter_id"], header["epoch"])
        self._began[key] = min(self._began.get(key, header["epoch_from"]), header["epoch_from"])
        booked = self._booked.setdefault(key, {})
        scale = header["scale"]
        for count in range(before, position):
            value = volume_ul(count, count + 1, scale["ul_num"], scale["den"])
            if count not in booked:
                booked[count] = (value, kind)
            elif booked[count][1] in TAKEN_OVER and kind not in TAKEN_OVER:
                booked[count] = (booked[count][0], kind)
            else:
                self._overlap_ul += booked[count][0]

    def state(self) -> dict[str, Any]:
        """Totals and named differences; a volume of None is not compared."""
        differences: dict[str, int | None] = dict.fromkeys(sorted(self._others))
        holes = sum(self._holes_ul(key) for key in self._booked)
        differences |= {"hole": holes} if holes else {}
        differences |= {"overlap": self._overlap_ul} if self._overlap_ul else {}
        total = sum(value for booked in self._booked.values() for value, _ in booked.values())
        return {"events": self.events, "volume_ul": total, "differences": differences}

    def _holes_ul(self, key: tuple[str, str]) -> int:
        booked = self._booked[key]
        scale = next(s["header"]["scale"] for s in self._streams.values() if s["header"].get("epoch") == key[1])
        missing = (count for count in range(self._began[key], max(booked, default=0)) if count not in booked)
        return sum(volume_ul(count, count + 1, scale["ul_num"], scale["den"]) for count in missing)
