"""Answers of the command."""

from typing import NamedTuple


class Answer(NamedTuple):
    """How the command ended, and what it said where."""

    code: int
    out: str
    err: str

    def is_one_message(self, *parts: object) -> bool:
        """Exit code 1, and on stderr one message with these parts, after what the progress bar left."""
        progress, begun, message = self.err.partition("error: ")
        if not begun or not all(line.strip().endswith(" left") for line in progress.split("\n") if line.strip()):
            return False
        return (
            self.code == 1
            and not self.out
            and "Traceback" not in message
            and all(str(part) in begun + message for part in parts)
        )
