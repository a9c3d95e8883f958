"""The protocols of the papers: the runs of each table, how they are executed, what they add up to."""
