"""The tractome command line: a thin skin over the library."""
