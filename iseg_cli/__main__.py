"""`python -m iseg_cli` is `iseg`."""

from iseg_cli.cli import main

main(prog_name="iseg")
