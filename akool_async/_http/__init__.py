"""Requests to AKOOL: transport, endpoints, codec, authentication."""
