"""`nalar`, and `python -m nalar_cli`: where both begin."""

import sys


def start() -> None:
    """Run the command line; Ctrl-C while it is still being loaded is told as any other."""
    try:
        from nalar_cli.main import main
    except KeyboardInterrupt:
        sys.exit(130)
    main()


if __name__ == "__main__":
    start()
