"""connect: from streamlines and regions to matrices.

Two steps, so that any atlas can be applied later without tracking again: `summarise` turns each block of streamlines
into a row per streamline (ends, length, means of the maps), and `connect` turns such rows into matrices. Neither keeps
what it has seen (but for medians), so memory does not grow with the number of streamlines.
"""

from tractome.stages.connect.assignment import ASSIGNMENT_METHODS, assign
from tractome.stages.connect.builder import ConnectomeBuilder, connect
from tractome.stages.connect.chance import chance_pvalues
from tractome.stages.connect.convergence import CARRIED, EdgeCounts, look_at, round_ends
from tractome.stages.connect.edges import EDGE_MEASURES, available_measures
from tractome.stages.connect.regions import regional_means
from tractome.stages.connect.summary import concatenate, summarise

__all__ = [
    "ASSIGNMENT_METHODS",
    "CARRIED",
    "EDGE_MEASURES",
    "ConnectomeBuilder",
    "EdgeCounts",
    "assign",
    "available_measures",
    "chance_pvalues",
    "concatenate",
    "connect",
    "look_at",
    "regional_means",
    "round_ends",
    "summarise",
]
