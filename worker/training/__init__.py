"""Training the brief's model as a language model: rows of token ids in, a model directory out.

    batches     rows of one block of the corpus become padded batches of rows of like length
    network     TensorFlow: the model, a softmax over the vocabulary, one step of Adam
    cross_entropy  TensorFlow: the softmax's loss and gradients in bounded memory
    checkpoint  all of a training's state as one file
    session     epochs, early stopping, going on after an interruption
    record      the model directory and its training.json
    unigrams    the perplexity that knows frequencies alone

`python -m worker.training DIRECTORY` does what `unrolled model fit` has prepared there, and says how far it is
as JSON lines.
"""
