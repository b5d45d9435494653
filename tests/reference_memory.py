"""KV blocks one by one, each with what it holds: the plain picture behind `runtime/kept_blocks.py`."""

from collections import deque
from dataclasses import dataclass, field

BLOCK = 16


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
        """Free the blocks of request `row`, the last first; whole ones with computed tokens keep them."""
        mine = self.owned.pop(row, [])
        for index in reversed(range(len(mine))):
            if (index + 1) * BLOCK > computed:
                self.holds[mine[index]] = None
            self.free.append(mine[index])

    def find(self, row: int, most: int) -> int:
        """Give request `row` back its first blocks as far as they are there, `most` at most; returns their tokens."""
        found: list[int] = []
        while self.keeps_kv and len(found) < most:
            there = [block for block in self.free if self.holds[block] == (row, len(found))]
            if not there:
                break
            found += there
            self.free.remove(there[0])
        self.owned[row] = found
        for block in [block for block in self.free if (self.holds[block] or (None,))[0] == row]:
            self.holds[block] = None
            self.free.remove(block)
            self.free.appendleft(block)
        return len(found) * BLOCK
