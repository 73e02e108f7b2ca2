"""The outcome of a press: its line of JSON, its charge, and what to do if its id is lost."""
