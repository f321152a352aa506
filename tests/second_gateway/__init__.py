"""A second gateway, which shares no code with the reference gateway or the kit: threads and blocking calls, a flat list
of what was answered instead of a tree, a full render of every request instead of deltas that were proved at start-up.

It exists to be judged. What the suite demands and this gateway does otherwise, though the contract allows it, is a
defect of the suite: it would ask for our code.
"""
