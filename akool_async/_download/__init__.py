"""Downloads of pictures to files."""
