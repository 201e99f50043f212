"""Run the chain as services of the operating system, with this installation's program, configuration and folders.

`jobs` defines what runs and when; `account` checks the account that runs it; `systemd` and `cron` write, install and
remove the jobs in their own format; `step` runs one command for cron.
"""
