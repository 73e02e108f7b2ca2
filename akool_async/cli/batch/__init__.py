"""`akool fan-out`: the file of presses, the plan, the run, the output that a later run continues."""
