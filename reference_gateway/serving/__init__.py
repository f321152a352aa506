"""HTTP: the planes, and what is around them."""
