"""``python -m mmprep`` is the command ``mmprep``."""

from mmprep.cli.main import main

if __name__ == "__main__":
    main(prog_name="mmprep")
