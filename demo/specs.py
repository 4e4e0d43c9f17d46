"""What a site consists of, as values: its simulated meters, and the text of station.toml."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple


class MeterCount(NamedTuple):
    """The simulated meter's own count file: what the product never reads."""

    counts: int
    """The register as the meter last told it, reduced by its modulus."""
    lifetime: int
    """Every count since the very first start, start counts included; never reduced or reset."""
    boots: int
    """Power-ups."""


@dataclass(frozen=True)
class MeterSpec:
    """One simulated meter and the station's settings for it."""

    id: str = "tap-1"
    driver: str = "pulse"
    start_counts: int = 1_000_000
    k_factor: str = "450"
    pattern: str = "pours"
    flow_l_min: float = 8.0
    seed: int = 1
    volatile: bool = False
    modulus: int | None = None
    identity: str | None = None
    profile: str | None = None
    qmax_l_min: float = 60.0
    jump: int = 0
    """Counts that the register is off at each start."""
    stuck: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Further keys of the station's [[meters]] table."""

    def simulate_arguments(self, link: Path, count_file: Path) -> list[str]:
        """Arguments of `aquasmart simulate` for this meter."""
        words = ["--driver", self.driver, "--link", str(link), "--count-file", str(count_file)]
        words += ["--start-counts", str(self.start_counts), "--k-factor", self.k_factor]
        words += ["--pattern", self.pattern, "--flow-l-min", str(self.flow_l_min), "--seed", str(self.seed)]
        words += ["--volatile"] if self.volatile else []
        words += ["--stuck"] if self.stuck else []
        words += ["--jump", str(self.jump)] if self.jump else []
        words += ["--modulus", str(self.modulus)] if self.modulus else []
        return words + (["--identity", self.identity] if self.identity else [])

    def station_table(self) -> dict[str, Any]:
        """The station's [[meters]] table for this meter."""
        table: dict[str, Any] = {"id": self.id, "driver": self.driver, "port": f"run/{self.id}"}
        if self.driver == "pulse":
            table |= {"baud": 115200, "k_factor": self.k_factor}
            table |= {"modulus": self.modulus} if self.modulus else {}
        else:
            table |= {"profile": self.profile or "tuf2000", "slave": 1}
        table |= {"qmax_l_min": self.qmax_l_min, "nonvolatile": not self.volatile}
        return table | dict(self.settings)


def station_toml(
    station_id: str,
    cloud: Mapping[str, Any],
    meters: Sequence[MeterSpec],
    overrides: Mapping[str, Mapping[str, Any]],
) -> str:
    """The text of a station's configuration; `overrides` are merged into its tables, table by table."""
    tables: dict[str, dict[str, Any]] = {"cloud": dict(cloud), "reader": {}, "sync": {}}
    for name, changes in overrides.items():
        tables.setdefault(name, {}).update(changes)
    top = {"station_id": station_id, "state_dir": "station", "runtime_dir": "run"}
    parts = [_toml_lines(top)]
    parts += [f"[{name}]\n{_toml_lines(table)}" for name, table in tables.items()]
    parts += [f"[[meters]]\n{_toml_lines(meter.station_table())}" for meter in meters]
    return "\n".join(parts)


def _toml_lines(table: Mapping[str, Any]) -> str:
    # A JSON string, number or boolean is also a TOML one; nothing else is needed here.
    return "".join(f"{key} = {json.dumps(value)}\n" for key, value in table.items())
