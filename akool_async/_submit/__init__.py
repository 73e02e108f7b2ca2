"""Submissions: each takes one paid POST from the queue to its outcome."""
