"""The `rec-align` command."""
