"""The one exception that a user is meant to read."""

LONGEST = 1500  # characters


class UserError(Exception):
    """Something the user can mend. Its text is one line, whatever it quotes; the command line exits with 2."""

    def __init__(self, text: str) -> None:
        super().__init__(" ".join(text.split())[:LONGEST])
