"""Arithmetic in numba: arrays in, arrays out, voxel coordinates, no I/O."""
