"""``python -m anonbench``."""

from anonbench.cli import main

if __name__ == "__main__":
    main()
