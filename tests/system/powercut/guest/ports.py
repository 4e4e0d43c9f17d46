"""The guest's channels to the host: virtio ports, where a write returns when the host has it."""

import glob
import os


def port(name):
    """A descriptor of the port that QEMU calls `name`."""
    for path in glob.glob("/sys/class/virtio-ports/*/name"):
        with open(path) as file:
            if file.read().strip() == name:
                return os.open("/dev/" + path.split("/")[-2], os.O_WRONLY)
    raise SystemExit(f"there is no port {name}")
