"""`python -m poisongen` is the command line."""

from poisongen.cli import main

main()
