"""`meltpoint init`: what somebody has becomes a params.yaml, with a reason for each choice."""
