"""What reads models: one folder for each kind of input."""
