"""Figures, each made by one command; see README.md."""
