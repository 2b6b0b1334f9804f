"""The stages: datatypes in, datatypes out; no files, no printing."""
