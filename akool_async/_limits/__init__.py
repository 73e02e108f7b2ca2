"""Limits: operations that run at AKOOL, requests per second, POSTs under way, credits, waits."""
