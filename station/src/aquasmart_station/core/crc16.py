"""CRC-16/MODBUS, which both the Modbus RTU frames and the pulse bridge's lines carry.

One function over bytes; framing and byte order belong to the drivers.
"""

from __future__ import annotations


def _entry(byte: int) -> int:
    value = byte
    for _ in range(8):
        value = (value >> 1) ^ 0xA001 if value & 1 else value >> 1
    return value


_TABLE = tuple(_entry(byte) for byte in range(256))


def crc16(data: bytes) -> int:
    """CRC of `data`: polynomial 0x8005 reflected, start 0xFFFF (Modbus over serial line V1.02, 6.2.2).

    The check value of b"123456789" is 0x4B37. Modbus sends the low byte first.
    """
    value = 0xFFFF
    for byte in data:
        value = (value >> 8) ^ _TABLE[(value ^ byte) & 0xFF]
    return value
