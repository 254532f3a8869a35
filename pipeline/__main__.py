"""`python -m pipeline`."""

from pipeline.cli import main

if __name__ == "__main__":  # not where a worker process imports it
    main()
