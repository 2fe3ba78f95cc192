"""Reports on a file or folder: its content, its faults and their fixes, and the cost of its use."""
