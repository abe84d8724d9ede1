"""`python -m nalar_cli`."""

from nalar_cli.main import main

main()
