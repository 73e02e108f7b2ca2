"""Fan-outs: many prompts and presses, read lazily, limited in number, within a budget."""
