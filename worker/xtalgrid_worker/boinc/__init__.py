"""The worker as a native BOINC app: it speaks with the BOINC client itself, without BOINC's library or wrapper.

The protocol is that of BOINC's ``lib/app_ipc.h`` and ``api/boinc_api.cpp`` (versions 7.20 to 8.3). A job is one process in a slot folder:

* `init_data`: what the client says of the job before it starts;
* `links`: the job's files, which lie elsewhere;
* `memory`: the messages both exchange while it runs;
* `client`: what they mean, as a safe point of the scoring;
* `slot`: the lock, and how the job says that it ended;
* `app`: all of it together.
"""
