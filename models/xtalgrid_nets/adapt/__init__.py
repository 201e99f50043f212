"""``xtalgrid-train adapt``: a lab's own scored wells make the classifier better on them, and it keeps the rest.

What is fitted is the last layer, 13 classes on 512 features. A window's logits are a linear function of the mean of the
features over its cells, so each well is run through the network once, and a fit takes seconds: enough to judge every
well by a fit that never saw its plate (or column), and too little freedom for a few hundred wells to spoil what was
learnt from many.
"""
