"""One file for each library that encoders come from."""
