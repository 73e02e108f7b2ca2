"""`akool fan-out` on a file: its rows, the plan, the run, the output that a later run goes on from."""
