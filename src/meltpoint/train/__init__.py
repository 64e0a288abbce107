"""The verbs that make models: embed, probe, fine-tune."""
