"""`akool fan-out`: the input file, the plan, the run, the output that a later run continues."""
