"""What looks at a running pair and says what is wrong: the audit, the contents, the worst gap."""
