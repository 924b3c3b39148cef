"""What computes the numbers that a converted model must match."""
