"""Tree ensembles of every library as flat arrays, and the kernel that scores them."""
