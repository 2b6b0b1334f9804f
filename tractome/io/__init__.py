"""Files to datatypes and back, and pictures. The only floor that opens a file."""
