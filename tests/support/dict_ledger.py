"""A ledger of one job in memory."""


class DictLedger:
    """A ledger of one job in memory, with the promises of the real one."""

    def __init__(self):
        self.known = None
        self.lives = {}
        self.entered = []

    def mark(self):
        return self.known

    def enter(self, expected, lives, becomes):
        if self.known != expected:
            return False
        self.entered.append(len(lives))
        self.lives |= dict(lives)
        self.known = becomes
        return True

    def cancel(self):
        self.known, self.lives = None, {}
