"""KV blocks one by one, each with what it holds: the plain picture behind `runtime/kept_blocks.py`."""

from collections import deque
from dataclasses import dataclass, field

BLOCK = 16
NOT_WHOLE = -1


@dataclass
class Memory:
    """Blocks of an instance; the free ones in the order in which they are taken."""

    count: int
    keeps_kv: bool
    free: deque[int] = field(init=False)
    holds: dict[int, tuple[int, int] | None] = field(init=False)  # block -> request and which of its blocks
    owned: dict[int, list[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.free = deque(range(self.count))
        self.holds = dict.fromkeys(self.free)

    def grow(self, row: int, tokens: int) -> None:
        """Take free blocks until request `row` has room for so many tokens."""
        mine = self.owned.setdefault(row, [])
        while len(mine) * BLOCK < tokens:
            block = self.free.popleft()
            self.holds[block] = (row, len(mine))
            mine.append(block)

    def release(self, row: int, computed: int) -> None:
        """Free the blocks of request `row`, the last first; whole ones with computed tokens can be found again."""
        mine = self.owned.pop(row, [])
        others = {block for theirs in self.owned.values() for block in theirs}
        for index in reversed(range(len(mine))):
            if mine[index] not in others:
                self.holds[mine[index]] = (row, index if (index + 1) * BLOCK <= computed else NOT_WHOLE)
                self.free.append(mine[index])

    def used(self) -> int:
        """Return how many blocks are not free."""
        return self.count - len(self.free)

    def own(self, row: int, most: int) -> int:
        """Return how many of its first blocks request `row` would find, `most` at most."""
        there = {self.holds[block] for block in self.free}
        return next((index for index in range(most) if not self.keeps_kv or (row, index) not in there), most)

    def find(self, row: int, most: int, donor: int | None = None, shared: int = 0) -> int:
        """Give request `row` its first blocks, `most` at most: those it shares with a donor, and those of its own behind.

        Returns their tokens.
        """
        found = self.owned[donor][:shared] if donor is not None else []
        while self.keeps_kv and len(found) < most:
            there = [block for block in self.free if self.holds[block] == (row, len(found))]
            if not there:
                break
            found += there
            self.free.remove(there[0])
        self.owned[row] = found
        self.forget(row)
        return len(found) * BLOCK

    def has(self, row: int, most: int) -> bool:
        """Return whether the first `most` blocks of request `row` are there and free."""
        there = {self.holds[block] for block in self.free}
        return self.keeps_kv and all((row, index) in there for index in range(most))

    def forget(self, row: int) -> None:
        """Make free blocks that hold tokens of request `row` ones that hold nothing; they are taken first."""
        for block in [block for block in self.free if (self.holds[block] or (None,))[0] == row]:
            self.holds[block] = None
            self.free.remove(block)
            self.free.appendleft(block)
