"""AquaSmart station: counts water and gets every count to the cloud exactly once."""

__version__ = "0.1.0"
