"""Where a GRU resets its state: before the product with the recurrent kernel, or after it.

A bias shows which in its shape. The arrays of a GRU without biases are the same in both cases.
"""

from dataclasses import replace

from worker.model_import.found import Found, Pass

#: In place of a pass's `reset` until the user says it.
UNSHOWN = "unshown"
OPTION = "--reset"


def settle_resets(found: Found, said: str | None) -> None:
    """Set what the user says of the GRUs whose arrays don't show it; without that, they can't be imported.

    Args:
        found: a file's layers.
        said: "before" or "after"; None if the user says nothing.
    """

    def settled(one: Pass | None) -> Pass | None:
        return replace(one, reset=said or "before") if one is not None and one.reset == UNSHOWN else one

    for layer in found.layers.values():
        if all(one.reset != UNSHOWN for one in layer.passes):
            continue
        layer.forward, layer.backward = settled(layer.forward), settled(layer.backward)
        found.leaves_open |= {OPTION}
        if said is not None:
            found.notes.append(f"{layer.name}: its GRU resets the state {said} the product (as you said)")
        elif layer.problem is None:
            layer.problem = (
                "the file has weights alone, and a GRU without biases doesn't show whether it resets its state before "
                "or after the product with the recurrent kernel; add --reset before if the model's code says "
                "reset_after=False, or says nothing and uses TensorFlow 1, or Keras itself (not tf.keras) before 2.4; "
                "otherwise add --reset after"
            )
