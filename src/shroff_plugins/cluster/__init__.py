"""Features, trees and replays on a cluster of Dask or Spark."""
