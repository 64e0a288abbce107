"""What a score means: judging, comparing, drawing; knows no torch."""
