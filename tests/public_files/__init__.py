"""Files in the form of public ones, with the meaning of each column declared by hand beside it.

`making` has what declares a column, `payment_kinds` and `other_kinds` the files, `judging` what is compared with a
proposal. `python -m tests.public_files [KIND ...]` shows the proposals and what is wrong in them.
"""
