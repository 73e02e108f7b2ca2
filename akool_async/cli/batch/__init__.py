"""`akool fan-out`: the file of prompts and presses, the plan, the run, the output that a later run continues."""
