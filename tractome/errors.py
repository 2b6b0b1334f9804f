"""What can go wrong, as types.

Every message has three parts: what we got, what is needed, what to do about it.
The command line turns any of these into ``error: ...`` and exit code 2.
"""


class TractomeError(Exception):
    """Anything the user can understand and mend. Never raised for a bug of ours."""


class OptionError(TractomeError):
    """An option is out of its range, unknown, or contradicts another one."""


class ImageError(TractomeError):
    """An image cannot be read, or has the wrong shape, type or values."""


class DamagedError(ImageError):
    """An image file ends too early, or its compression is damaged."""


class GradientError(TractomeError):
    """The b-values or directions are missing, inconsistent or insufficient."""


class SpaceError(TractomeError):
    """Two images that must lie in one space, or on one grid, do not."""


class AtlasError(TractomeError):
    """An atlas or a region table is unknown, inconsistent or incomplete."""


class RegistrationError(TractomeError):
    """A registration did not reach the quality that its result needs."""


class TrackingError(TractomeError):
    """Tracking cannot start, or gave nothing that can be used."""


class TableError(TractomeError):
    """A tractogram, matrix or graph file cannot be read or does not fit."""


class OutputError(TractomeError):
    """The output cannot be written, or stands in the way."""


class LayoutError(TractomeError):
    """A folder holds no subject that is understood, or several and none was named."""
