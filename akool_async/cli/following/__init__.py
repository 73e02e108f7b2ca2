"""A few operations, followed from the POST to the pictures on disk, in a live table."""
