"""Invocations behind the wire: one message in, one text out, with hooks before and behind the target.

No HTTP here. `request` is what is asked, `target` what answers, `hooks` what a deployment puts in between, `host` the
order of it all; `delivery` sends answers elsewhere, `tasks` runs what nobody waits for.
"""
