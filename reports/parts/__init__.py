"""The parts of a recording's page, one module each: what it says, ready for its template."""
