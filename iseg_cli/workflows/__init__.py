"""The loops behind the commands."""
