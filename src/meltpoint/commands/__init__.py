"""The commands of `meltpoint`, a file each: HELP and ABOUT teach it, `describe` its words, `run` does it."""
