"""Parallel imaging: transforms, operators, coil maps, and the classical reconstructions."""
