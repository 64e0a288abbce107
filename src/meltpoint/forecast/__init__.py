"""How long stages take: measured on this machine for seconds, or as they took the last time. Always an estimate."""
