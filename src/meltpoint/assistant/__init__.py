"""A model as a tool of assistants, over the Model Context Protocol."""
