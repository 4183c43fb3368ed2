"""``python -m nnlib``: the command line."""

from nnlib.cli import main

if __name__ == "__main__":
    main(prog_name="nnlib")
