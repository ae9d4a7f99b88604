"""Makes the models beside this file with PyTorch, safetensors and onnx: `python tests/torch_models/make.py`.

For each case NAME.safetensors, the state dict of an embedding, a recurrent module and a head, and in expected.npz the
outputs of the recurrent module for the rows of `ROWS`, packed, so that backward passes begin at each row's last token.
exported.onnx is a bidirectional stack as torch.onnx.export writes it, and packed.onnx another one that packs its rows.
"""

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

HERE = Path(__file__).parent
VOCABULARY, WIDTH, UNITS = 11, 4, 5
ROWS = [[3], [1, 2], [10, 4, 4, 0, 7], [5, 6, 7, 8, 9, 10, 1, 2, 3]]
CASES = {
    "lstm1": ("LSTM", {}),
    "lstm2": ("LSTM", {"num_layers": 2}),
    "lstm3_bidirectional": ("LSTM", {"num_layers": 3, "bidirectional": True}),
    "lstm2_projected": ("LSTM", {"num_layers": 2, "proj_size": 3}),
    "lstm2_projected_bidirectional": ("LSTM", {"num_layers": 2, "proj_size": 3, "bidirectional": True}),
    "lstm1_no_bias": ("LSTM", {"bias": False}),
    "gru2": ("GRU", {"num_layers": 2}),
    "gru1_bidirectional": ("GRU", {"bidirectional": True}),
}


class Tagger(torch.nn.Module):
    """An embedding, a recurrent module, and a head that an import leaves out."""

    def __init__(self, kind: str, settings: dict) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(VOCABULARY, WIDTH)
        self.rnn = getattr(torch.nn, kind)(WIDTH, UNITS, batch_first=True, **settings)
        outputs = (settings.get("proj_size") or UNITS) * (2 if settings.get("bidirectional") else 1)
        self.head = torch.nn.Linear(outputs, 2)

    def states(self, rows: list[list[int]]) -> list[np.ndarray]:
        """The recurrent module's outputs of each row, (length, outputs)."""
        lengths = [len(row) for row in rows]
        padded = torch.tensor([row + [0] * (max(lengths) - len(row)) for row in rows])
        packed = pack_padded_sequence(self.embedding(padded), lengths, batch_first=True, enforce_sorted=False)
        with torch.no_grad():
            outputs, _ = pad_packed_sequence(self.rnn(packed)[0], batch_first=True)
        return [one[:length].numpy() for one, length in zip(outputs, lengths, strict=True)]

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """The method that torch.onnx.export traces."""
        return self.head(self.rnn(self.embedding(ids))[0])


class Packed(torch.nn.Module):
    """A tagger that is given the lengths of its rows, in any order."""

    def __init__(self, tagger: Tagger) -> None:
        super().__init__()
        self.tagger = tagger

    def forward(self, ids: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """The method that torch.onnx.export traces."""
        rows = pack_padded_sequence(self.tagger.embedding(ids), lengths, batch_first=True, enforce_sorted=False)
        return self.tagger.head(pad_packed_sequence(self.tagger.rnn(rows)[0], batch_first=True)[0])


def export_packed(tagger: Tagger) -> None:
    """Write packed.onnx."""
    given = torch.tensor([[1, 2, 0], [3, 4, 5]]), torch.tensor([2, 3])
    axes = {"ids": {0: "batch", 1: "time"}, "lengths": {0: "batch"}}
    torch.onnx.export(
        *(Packed(tagger).eval(), given, HERE / "packed.onnx"),
        input_names=[*axes],
        output_names=["scores"],
        dynamic_axes=axes,
        dynamo=False,
    )


def main() -> None:
    """Write all files."""
    torch.manual_seed(0)
    expected = {}
    for name, (kind, settings) in CASES.items():
        tagger = Tagger(kind, settings)
        with torch.no_grad():
            for tensor in tagger.parameters():
                tensor.normal_(0, 0.7)  # so large that a wrong gate shows
        save_file(tagger.state_dict(), HERE / f"{name}.safetensors")
        for number, states in enumerate(tagger.states(ROWS)):
            expected[f"{name}.{number}"] = states
        if name == "lstm3_bidirectional":
            ids = torch.tensor([ROWS[-1]])
            axes = {"ids": {0: "batch", 1: "time"}}
            torch.onnx.export(
                tagger.eval(), (ids,), HERE / "exported.onnx", input_names=["ids"], dynamic_axes=axes, dynamo=False
            )
        if name == "gru1_bidirectional":
            export_packed(tagger)
    np.savez_compressed(HERE / "expected.npz", **expected)


if __name__ == "__main__":
    main()
