"""``python -m mmtrain`` is the command ``mmtrain``; torchrun starts it so."""

from mmtrain.cli.main import main

if __name__ == "__main__":
    main(prog_name="mmtrain")
