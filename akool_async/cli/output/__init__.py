"""Where output goes: stdout, stderr, terminals, folders."""
