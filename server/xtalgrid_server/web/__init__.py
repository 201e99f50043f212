"""The viewer: plates, wells and their scores in a browser.

It reads the ledger and the image files. It writes people's scores, reviews and users to the ledger and, if the lab
wants it, people's scores to the imager's score table.
"""
