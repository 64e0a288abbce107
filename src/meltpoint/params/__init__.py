"""Every knob of params.yaml, typed. A knob that is absent is off; nothing else has a default."""
