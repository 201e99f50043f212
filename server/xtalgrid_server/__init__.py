"""The server side: from the imager database to work units, and from results to scores, frames and the viewer."""
