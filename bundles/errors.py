"""The base class of every error that this project raises itself."""


class PerfRnnError(ValueError):
    """Input that cannot be used; the message names it and says what to do.

    The command-line tools print it as one line. Any other exception is a defect of this project
    and shows its traceback.
    """
