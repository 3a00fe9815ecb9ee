"""What differs between engines: fields, versions, known bugs, and who talks to whom."""
