"""Show a store to people: an explorer in a notebook, the same in a report of one file, a table of many runs.

`explorer.js` draws in both; it gets packed stores (`packing`) and depends on nothing. The functions stand in the files
of their names: `explore`, `report`, `runs`.
"""
