"""`python -m fieldflux.app`: the command line."""

from .cli import main

main()
