"""The commands of the command line: each function prints the result of one, and imports the heavy modules that it needs."""
