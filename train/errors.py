"""What a user did that cannot work."""


class UserError(Exception):
    """One line: what was given, what was expected, what to do. The command line prints it and exits with status 2."""


class RankError(UserError):
    """What is wrong on one of several ranks only: it is printed by that rank, all else by rank 0."""


class LostRankError(Exception):
    """Another process of this run is gone. The command line prints it and exits with status 1."""


class DiskError(Exception):
    """What was to be kept could not be written. The command line prints it and exits with status 1."""
