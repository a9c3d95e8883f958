"""What the papers fix: protocols, datasets, methods, the runs of each table, and their figures."""
