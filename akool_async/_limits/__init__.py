"""Limits on running operations, requests per second, POSTs under way, credits and waits."""
