"""What a file or folder is, what is wrong with it, how to fix it, and what using it would cost."""
