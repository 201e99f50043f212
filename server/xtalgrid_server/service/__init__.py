"""The chain as services of the operating system, written for this installation: its program, configuration and folders.

`jobs` says what runs and when; `account` checks who runs it; `systemd` and `cron` write it down as each wants it, put it where it
belongs, and take it away again; `step` is how cron starts one command.
"""
