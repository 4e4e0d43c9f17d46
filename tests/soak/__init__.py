"""Random faults against the real processes, for as long as wanted: `python -m tests.soak --help`, `make soak`."""
