"""The meters this station can read: one file each, one line each in the table below.

Nothing else lives here. `driver.make_driver` looks a name up in it.
"""

from __future__ import annotations

from collections.abc import Callable

from .driver import Driver, DriverSettings, make_driver
from .modbus import modbus_driver
from .pulse import PulseDriver

__all__ = ["DRIVERS", "make_driver"]

DRIVERS: dict[str, Callable[[DriverSettings], Driver]] = {
    "pulse": PulseDriver,
    "modbus": modbus_driver,
}
