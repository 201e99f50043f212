"""ISPyB: images, people's scores and programs' scores of a synchrotron's database, by SQL on its documented tables."""
