"""Adapt the classifier to a lab's own scored wells without losing what it has learnt: ``xtalgrid-train adapt``.

Only the last layer is fitted: 13 classes on 512 features. A window's logits are a linear function of the mean of the
features over its cells, so each well passes through the network once and a fit takes seconds. That is fast enough to
judge every well by a fit that never saw its plate (or column), and a last layer has too little freedom for a few
hundred wells to spoil what was learnt from many.
"""
