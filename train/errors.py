"""What a user did that cannot work."""


class UserError(Exception):
    """One line: what was given, what was expected, what to do. The command line prints it and exits with status 2."""


class DiskError(Exception):
    """What was to be kept could not be written. The command line prints it and exits with status 1."""
