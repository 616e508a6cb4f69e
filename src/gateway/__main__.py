"""``python -m gateway``: the command line, where its script is not on the path."""

from gateway.cli.main import main

if __name__ == "__main__":
    main()
