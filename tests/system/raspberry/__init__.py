"""An emulated Raspberry Pi 3B: Debian's arm64 programs, the station's package, a meter on the board's serial port."""
