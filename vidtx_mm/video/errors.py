"""The one exception of reading videos."""


class VideoError(RuntimeError):
    """A video that cannot be read. The message is 'name: reason'; ``reason`` holds the second half alone."""

    def __init__(self, reason: str, name: str = '') -> None:
        super().__init__(f'{name}: {reason}' if name else reason)
        self.reason = reason
