"""Every knob of params.yaml, typed. The file is complete: no class here has a default."""
