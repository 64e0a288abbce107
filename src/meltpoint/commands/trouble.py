"""What ends a command."""

from meltpoint.errors import UserError


class CommandError(UserError, RuntimeError):
    """A command cannot do what it is asked in this folder."""
