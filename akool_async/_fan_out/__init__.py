"""Fan-outs: many presses and prompts, pulled lazily, bounded, within a budget."""
