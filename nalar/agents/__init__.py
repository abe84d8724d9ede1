"""What users write, and how one call of it runs. Knows no transport."""
