"""Polling: one poll loop per operation, shared by all waiters and woken by webhooks."""
