"""What a file or folder is, what is wrong with it, how to mend it, and what it would cost."""
