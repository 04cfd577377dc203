"""Rankings from and for other programs: one file each for what they read and write."""
