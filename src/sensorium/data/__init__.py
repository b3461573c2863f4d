"""What stages leave for each other."""
