"""Reports on a file or folder: what it is, what is wrong with it, how to fix that, and its cost."""
