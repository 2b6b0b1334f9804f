"""Constrained deconvolution of many voxels: the system they share, and the solver."""

from tractome.kernels.deconvolution.solver import CONVERGED, NO_SIGNAL, NOT_CONVERGED, System, solve_voxels

__all__ = ["CONVERGED", "NOT_CONVERGED", "NO_SIGNAL", "System", "solve_voxels"]
