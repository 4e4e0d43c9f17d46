# seccomp: the units' system call filters are only there with it. pam for logind. coredumps would wear the card.
PACKAGECONFIG:append:aquasmart = " seccomp"
# timesyncd: chrony has the clock.
PACKAGECONFIG:remove:aquasmart = "coredump timesyncd"
