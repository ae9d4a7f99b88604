"""The loss of the softmax and its gradients, computed for a slice of tokens at a time.

The logits, tokens x vocabulary, are the largest array in the training of a language model. The logits of a slice are
computed, turned into gradients and dropped. So memory is bounded for any vocabulary, and nothing is sampled or
approximated.
"""

from typing import Any

from worker.models.tensorflow import tf

#: The most logits in a slice (16 MiB), unless a single token has more. On a CPU, slices of 512 to 1,024 tokens with
#: 5,000 words are at least as fast as all tokens at once.
SLICE_LOGITS = 2**22


@tf.custom_gradient  # type: ignore[untyped-decorator]  # TensorFlow has no types
def cross_entropy(states: Any, kernel: Any, bias: Any, labels: Any) -> Any:
    """The sum of the cross entropies of softmax(states @ kernel + bias).

    The gradients are computed together with the loss, so use this under a gradient tape only.

    Args:
        states: float32 (tokens, units).
        kernel: float32 (units, vocab_size).
        bias: float32 (vocab_size,).
        labels: int32 (tokens,) in 0..vocab_size - 1.

    Returns:
        float32 (), in nats.
    """
    size, count = _slices(states, kernel)

    def body(number: Any, loss: Any, gradients: Any, by_state: Any) -> Any:
        part = states[number * size : (number + 1) * size]  # (slice, units)
        losses, by_logit = tf.raw_ops.SparseSoftmaxCrossEntropyWithLogits(
            features=tf.matmul(part, kernel) + bias, labels=labels[number * size : (number + 1) * size]
        )
        by_kernel, by_bias = gradients
        gradients = (
            by_kernel + tf.matmul(part, by_logit, transpose_a=True),
            by_bias + tf.reduce_sum(by_logit, axis=0),
        )
        by_state = by_state.write(number, tf.matmul(by_logit, kernel, transpose_b=True))
        return number + 1, loss + tf.reduce_sum(losses), gradients, by_state

    by_state = tf.TensorArray(tf.float32, count, infer_shape=False, element_shape=(None, states.shape[1]))
    begin = (tf.constant(0), tf.constant(0.0), (tf.zeros_like(kernel), tf.zeros_like(bias)), by_state)
    _, loss, (by_kernel, by_bias), by_state = tf.while_loop(
        lambda number, *_: number < count, body, begin, parallel_iterations=1
    )
    by_states = tf.ensure_shape(by_state.concat(), states.shape)

    def gradient(upstream: Any) -> Any:
        return upstream * by_states, upstream * by_kernel, upstream * by_bias, None

    return loss, gradient


def loss_alone(states: Any, kernel: Any, bias: Any, labels: Any) -> Any:
    """The value of `cross_entropy` without gradients."""
    size, count = _slices(states, kernel)

    def body(number: Any, loss: Any) -> Any:
        part = states[number * size : (number + 1) * size]
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
            labels[number * size : (number + 1) * size], tf.matmul(part, kernel) + bias
        )
        return number + 1, loss + tf.reduce_sum(losses)

    begin = (tf.constant(0), tf.constant(0.0))
    return tf.while_loop(lambda number, _: number < count, body, begin, parallel_iterations=1)[1]


def _slices(states: Any, kernel: Any) -> tuple[int, Any]:
    """The number of tokens in a slice, and the number of slices."""
    size = max(1, SLICE_LOGITS // int(kernel.shape[1]))
    return size, (tf.shape(states)[0] + size - 1) // size
