"""One poll loop per operation, however many wait for it; webhooks wake it."""
