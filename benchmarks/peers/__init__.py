"""The same work by transfuse and by what people use today, each run in a process of its own.

    work.py       the works: data, sides, quality
    one.py        runs one side of one work once and prints its figures

`benchmarks/speed.py` runs them in alternating order and keeps the results.
"""
