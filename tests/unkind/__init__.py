"""An unkind week in minutes: killed runs, full disks, damaged and malicious files.

    python -m tests.unkind --minutes 5
    python -m tests.unkind --only kills --count 500 --jobs 2
    python -m tests.unkind --repeat SEED KIND

Each trial is one of: refused clearly (a line to three that name the file, exit code 2), right (the
same result as with the intact file, or what the changed file says by an independent reading of its
format), raw (a traceback, another exception, a hang) or silent (a wrong result accepted, code executed,
an earlier file damaged, a half-written one left). The last two must not occur: the exit code is 1 then,
and the files of each are kept.
"""
