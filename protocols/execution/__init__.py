"""How runs are executed: one here, many in a sweep, on a Ray cluster."""
