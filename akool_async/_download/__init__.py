"""Downloads: pictures on disk."""
