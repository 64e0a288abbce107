"""A model behind HTTP: what travels with it, what it answers, what it refuses."""
