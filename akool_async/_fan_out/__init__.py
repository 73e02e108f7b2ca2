"""Many presses, pulled lazily, bounded, within a budget."""
