"""Submissions: one paid POST each, from queueing to its outcome."""
