"""The command line of mmprep: parses options, calls the library, prints the result."""
