"""The worker as a native BOINC app: it communicates with the BOINC client without BOINC's library or wrapper.

The protocol is that of BOINC's ``lib/app_ipc.h`` and ``api/boinc_api.cpp`` (versions 7.20 to 8.3). A job is one process
in a slot folder:

* `init_data`: the job's parameters from the client;
* `links`: the job's files, which lie in the project's folder;
* `memory`: shared memory for messages between client and job;
* `client`: handles these messages at the safe points of scoring;
* `slot`: the lock, and the files that tell the client how the job ended;
* `app`: a whole job.
"""
