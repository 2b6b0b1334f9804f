"""Subjects as they come: which files of a folder are a subject's scan, anatomy and labels.

One module per way of laying out a data set. Each has ``NAME``; ``scans_in(path, subject, session)``, which lists the
scans at or below a path without opening images; ``main_scans(scans)``, which passes over those that are not to be
fitted on their own; and ``describe(scan)``, which gathers what belongs to one.
"""

from tractome.io.layouts.find import find_subject_in
from tractome.io.layouts.found import FoundSubject, LabelImage

__all__ = ["FoundSubject", "LabelImage", "find_subject_in"]
