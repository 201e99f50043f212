"""Read and write MXNet's files without MXNet: RecordIO packs of images, and SqueezeNet checkpoints.

MXNet was retired in 2023, and its last release needs a NumPy that is too old for everything else here.
`models/legacy-mxnet` compares these readers with the real MXNet, in an environment of its own.
"""
