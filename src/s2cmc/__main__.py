"""``python -m s2cmc`` is the command ``s2cmc``."""

from s2cmc.cli import main

if __name__ == "__main__":
    main()
