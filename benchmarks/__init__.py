"""Benchmarks. Each is one command: see README.md."""
