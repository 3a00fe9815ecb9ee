"""`kvreplay matrix`: one module for each verb."""
