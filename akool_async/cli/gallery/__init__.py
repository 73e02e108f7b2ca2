"""The gallery: one page with images, their buttons, and the outcome of each press."""
