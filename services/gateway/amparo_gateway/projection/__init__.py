"""The read projection: everything in it comes from the log and can be dropped and read again at any time."""
