"""AquaSmart cloud: verifies, books and shows what the stations count."""

__version__ = "0.1.0"
