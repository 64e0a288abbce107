"""A model as a folder that a container is built from."""
