"""Which strategy to ship, by how much it is better, and how sure that is; knows no task."""
