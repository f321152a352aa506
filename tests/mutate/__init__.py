"""Changes the reference gateway, one edit at a time, and lets the suite judge each.

edits       which edits there are
judging     the suite against each, in a process forked from one run against the unharmed gateway
verdicts    what came of each, kept from run to run
survivors   those that nothing noticed, and why
page        what is published
"""
