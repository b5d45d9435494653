"""The waiting queue of an instance: a skew heap over (key, counter), threaded through the request records.

A heap whose nodes lie in the records themselves needs no storage per instance, and two heaps merge in O(log n)
amortised (Sleator and Tarjan, SIAM J. Comput. 1986).
"""

from makespan.runtime.compiled import compiled
from makespan.runtime.engine_state import NOTHING, Records


@compiled
def before(requests: Records, a: int, b: int) -> bool:
    """Return whether request `a` goes before request `b`."""
    if requests[a].key != requests[b].key:
        return bool(requests[a].key < requests[b].key)
    return bool(requests[a].counter < requests[b].counter)


@compiled
def merge(requests: Records, a: int, b: int) -> int:
    """Return the root of the union of two heaps, given by their roots."""
    if a == NOTHING:
        return b
    if b == NOTHING:
        return a
    if before(requests, b, a):
        a, b = b, a
    root = a
    while True:
        rest = requests[a].right
        requests[a].right = requests[a].left
        if rest == NOTHING:
            requests[a].left = b
            return root
        if before(requests, b, rest):
            rest, b = b, rest
        requests[a].left = rest
        a = rest


@compiled
def push(requests: Records, root: int, row: int) -> int:
    """Return the root after request `row` has been added."""
    requests[row].left = NOTHING
    requests[row].right = NOTHING
    return merge(requests, root, row)


@compiled
def pop(requests: Records, root: int) -> int:
    """Return the root after the first request has been taken out."""
    return merge(requests, requests[root].left, requests[root].right)


@compiled
def remove(requests: Records, root: int, row: int) -> int:
    """Return the root after request `row`, wherever it is in the heap, has been taken out. O(size)."""
    if root == row:
        return pop(requests, root)
    stack = [root]
    while stack:
        node = stack.pop()
        if requests[node].left == row:
            requests[node].left = pop(requests, row)
            return root
        if requests[node].right == row:
            requests[node].right = pop(requests, row)
            return root
        if requests[node].left != NOTHING:
            stack.append(requests[node].left)
        if requests[node].right != NOTHING:
            stack.append(requests[node].right)
    return root
