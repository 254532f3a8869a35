"""The one exception that a user is meant to read."""


class UserError(Exception):
    """Something the user can mend. Its text is one line; the command line prints it and exits with 2."""
