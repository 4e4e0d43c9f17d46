"""Machines under QEMU that run the whole station: systemd, the package's services, a meter and a cloud on the host."""
