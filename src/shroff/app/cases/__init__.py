"""Cases of an opened project, and the operations on them."""
