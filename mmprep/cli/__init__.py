"""The command line of mmprep: parse, call, print."""
