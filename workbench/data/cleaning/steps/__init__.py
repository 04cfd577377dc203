"""Steps that look at one record at a time: one file each."""
