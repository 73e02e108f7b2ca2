"""Pictures to disk."""
