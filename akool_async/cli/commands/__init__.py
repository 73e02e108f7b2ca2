"""One file for each command or family of commands: its options and its work."""
