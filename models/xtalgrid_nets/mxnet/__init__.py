"""What MXNet left behind, read and written without it: RecordIO packs of images and SqueezeNet checkpoints.

MXNet was retired in 2023, and its last release needs a NumPy that nothing else here can live with.
`models/legacy-mxnet` compares these readers with the real MXNet, in an environment of its own.
"""
