"""The progress of a few operations, from the POST to the pictures on disk, in a live table."""
