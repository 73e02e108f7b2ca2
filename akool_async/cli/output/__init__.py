"""Output to stdout, stderr, terminals and folders."""
