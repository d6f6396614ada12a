"""What the words of a report propose: passages that suggest a category or a factor."""
