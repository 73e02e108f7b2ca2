"""The commands: options and what each does."""
