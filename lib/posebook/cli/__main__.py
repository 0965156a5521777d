"""`python -m posebook.cli`, which `torchrun` takes."""

from posebook.cli import main

if __name__ == "__main__":
    main()
