"""A few operations, followed from the POST to the pictures on disk, shown while they change."""
