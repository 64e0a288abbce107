"""How one model is judged and drawn, whatever its task; knows no torch."""
