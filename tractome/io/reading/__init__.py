"""Readers of matrices that other programs made; the table of them is in `tractome.io.importers`."""
