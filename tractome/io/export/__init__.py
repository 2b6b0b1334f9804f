"""Writers for other tools: a file per family of tools; the table of them is in `tractome.io.exporters`."""
