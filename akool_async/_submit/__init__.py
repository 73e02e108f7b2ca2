"""One paid POST, from queueing to its outcome."""
