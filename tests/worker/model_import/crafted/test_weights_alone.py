"""Crafted files of weights alone: what is left over and could be between ids and states is a refusal that names it."""

import numpy as np
import pytest
from safetensors.numpy import save_file
from support.crafted import RIGHT, UNITS, VOCABULARY, WIDTH, Cases, Tensors, check, torch_gru, torch_lstm
from support.imported import imported, states_of

from worker.model_import.errors import ImportRefusedError

CASES = Cases()
case = CASES.case
#: Of the source's ids, which count from 0.
ROWS = [[3], [1, 2], [9, 4, 4, 1, 7], [5, 6, 7, 8, 9, 1, 1, 2, 3]]


def embedded(name="embedding.weight", rows=VOCABULARY, width=WIDTH):
    tensors = Tensors()
    return tensors, tensors.add(name, rows, width)


def plain(width=WIDTH, units=UNITS, table="embedding.weight", module="rnn."):
    """An embedding and an LSTM on it."""
    tensors, rows = embedded(table, width=width)
    run = torch_lstm(tensors, module, width, units)
    return tensors, lambda row: run(rows[row]), rows, run


@case()
def plain_model():
    tensors, own, *_ = plain()
    return tensors, own


@case(initial_states=True, parity=1e-5)
def lstm_that_starts_from_states_of_rows():
    tensors = Tensors()
    table, run = tensors.add("embedding.weight", VOCABULARY, WIDTH), torch_lstm(tensors, "rnn.", WIDTH)
    return tensors, lambda row, begun: run(table[row].astype(float), first_state=begun[:5], first_cell=begun[5:])


def normalized_lstm(tensors, module, inputs, *, biases=()):
    """Add the arrays of a layer of PyTorch's custom_lstms.py; returns its function."""
    w_ih, w_hh = (tensors.add(f"{module}weight_{name}", 20, n) for name, n in (("ih", inputs), ("hh", UNITS)))
    shifts = [tensors.add(f"{module}bias_{name}", 20) if name in biases else 0 for name in ("ih", "hh")]
    norms = {
        side: [tensors.add(f"{module}layernorm_{side}.{part}", 20 if side != "c" else 5) for part in ("weight", "bias")]
        for side in "ihc"
    }

    def norm(side, x):
        weight, bias = norms[side]
        return (x - x.mean()) / np.sqrt(x.var() + 1e-5) * weight + bias

    def run(vectors):
        state, cell, states = np.zeros(UNITS), np.zeros(UNITS), []
        for x in vectors.astype(float):
            gates = norm("i", w_ih @ x + shifts[0]) + norm("h", w_hh @ state + shifts[1])
            i, f, g, o = np.split(gates, 4)
            i, f, o = (1 / (1 + np.exp(-gate)) for gate in (i, f, o))
            cell = norm("c", f * cell + i * np.tanh(g))
            state = o * np.tanh(cell)
            states.append(state)
        return np.array(states)

    return run


@case()
def layer_normalized_lstm():
    tensors, rows = embedded()
    run = normalized_lstm(tensors, "layers.0.cell.", WIDTH)
    return tensors, lambda row: run(rows[row])


@case(layers=("layers.0.cell", "layers.1.cell"))
def layer_normalized_lstms_with_biases():
    tensors, rows = embedded()
    low = normalized_lstm(tensors, "layers.0.cell.", WIDTH, biases=("ih", "hh"))
    top = normalized_lstm(tensors, "layers.1.cell.", UNITS, biases=("ih",))
    return tensors, lambda row: top(low(rows[row]))


@case(r"between.*layernorm_h|layernorm_h.*between|layernorm_[ihc]")
def layer_normalized_lstm_without_a_part():
    tensors, rows = embedded()
    normalized_lstm(tensors, "layers.0.cell.", WIDTH)
    del tensors["layers.0.cell.layernorm_c.bias"]
    return tensors, lambda row: rows[row]


@case(r"rnn reads vectors 4 wide, and words may be its embedding, but its weights are in two.*weight_norm.*--one-hot")
def embedding_in_two_parts():
    tensors = Tensors()
    tensors.add("words.weight_v", VOCABULARY, WIDTH)
    tensors.add("words.weight_g", VOCABULARY, 1)
    torch_lstm(tensors, "rnn.", WIDTH)
    return tensors, lambda row: row


MAPPED = {"maps": ("bridge:tanh", "narrow")}


@case(r"rnn reads vectors 5 wide, but the embeddings are embedding \(4 wide\).*--fold NAME", then=MAPPED)
def linear_modules_between_embedding_and_layer():
    tensors, rows = embedded()
    run = torch_lstm(tensors, "rnn.", UNITS)
    one, shift = tensors.add("bridge.weight", 6, WIDTH), tensors.add("bridge.bias", 6)
    two = tensors.add("narrow.weight", UNITS, 6)
    return tensors, lambda row: run(np.tanh(rows[row] @ one.T + shift) @ two.T)


@case(r"square.weight \(4, 4\) .*--fold NAME", then={"maps": ("square:relu",)})
def square_linear_module_between_embedding_and_layer():
    tensors, rows = embedded()
    run = torch_lstm(tensors, "rnn.", WIDTH)
    one, shift = tensors.add("square.weight", WIDTH, WIDTH), tensors.add("square.bias", WIDTH)
    return tensors, lambda row: run(np.maximum(rows[row] @ one.T + shift, 0))


@case(r"--fold pre: pre.weight_g, .* aren't the weight and the bias of one Linear module", maps=("pre",))
def linear_module_with_weight_norm():
    tensors, own, *_ = plain()
    tensors.add("pre.weight_g", WIDTH, 1)
    tensors.add("pre.weight_v", WIDTH, WIDTH)
    return tensors, own


@case(r"--fold none: there is no Linear module of this name; left over are .*head", maps=("none",))
def linear_module_that_is_not_there():
    tensors, own, *_ = plain()
    tensors.add("head.weight", 3, UNITS)
    return tensors, own


@case(r"--fold head:sine: there is no such function; known are linear, tanh", maps=("head:sine",))
def function_that_is_not_known():
    tensors, own, *_ = plain()
    tensors.add("head.weight", 3, UNITS)
    return tensors, own


@case()
def head_on_top():
    tensors, own, *_ = plain()
    tensors.add("head.weight", 3, UNITS)
    tensors.add("head.bias", 3)
    return tensors, own


@case()
def head_of_two_layers_and_norm_on_top():
    tensors, own, *_ = plain()
    tensors.add("norm.weight", UNITS)
    tensors.add("norm.bias", UNITS)
    tensors.add("head.0.weight", 7, UNITS)
    tensors.add("head.0.bias", 7)
    tensors.add("head.2.weight", 3, 7)
    tensors.add("head.2.bias", 3)
    return tensors, own


@case()
def head_of_as_many_classes_as_the_embedding_is_wide():
    tensors, own, *_ = plain()
    tensors.add("head.weight", WIDTH, UNITS)
    tensors.add("head.bias", WIDTH)
    return tensors, own


@case()
def crf_on_top():
    tensors, own, *_ = plain()
    tensors.add("tags.weight", 3, UNITS)
    tensors.add("tags.bias", 3)
    tensors.add("crf.transitions", 3, 3)
    tensors.add("crf.start_transitions", 3)
    return tensors, own


@case(r"between.*embedding2nn\.weight \(4, 4\) can turn.* --leave embedding2nn")
def linear_between_embedding_and_lstm():
    tensors, _, rows, run = plain()
    w, b = tensors.add("embedding2nn.weight", WIDTH, WIDTH), tensors.add("embedding2nn.bias", WIDTH)
    return tensors, lambda row: run(rows[row] @ w.T + b)


@case(r"between.*word_reprojection_map\.weight")
def linear_without_bias_between():
    tensors, _, rows, run = plain(table="word_embedding.weight")
    w = tensors.add("word_reprojection_map.weight", WIDTH, WIDTH)
    return tensors, lambda row: run(rows[row] @ w.T)


@case(r"square\.weight", then={"leave": ("square",)})
def square_head_on_an_lstm_as_wide_as_its_embedding():
    tensors, own, *_ = plain(width=UNITS)
    tensors.add("square.weight", UNITS, UNITS)
    tensors.add("square.bias", UNITS)
    return tensors, own


@case(r"bottleneck\.0\.weight")
def two_linears_that_lead_back_to_the_width():
    tensors, _, rows, run = plain()
    down, up = tensors.add("bottleneck.0.weight", 2, WIDTH), tensors.add("bottleneck.2.weight", WIDTH, 2)
    return tensors, lambda row: run(rows[row] + np.tanh(rows[row] @ down.T) @ up.T)


@case(r"highway\.weight")
def highway_of_twice_the_width():
    tensors, _, rows, run = plain()
    w, b = tensors.add("highway.weight", 2 * WIDTH, WIDTH), tensors.add("highway.bias", 2 * WIDTH)

    def own(row):
        new, gate = np.split(rows[row] @ w.T + b, 2, axis=1)
        gate = 1 / (1 + np.exp(-gate))
        return run(gate * rows[row] + (1 - gate) * np.maximum(new, 0))

    return tensors, own


@case(r"conv\.weight")
def convolution_between():
    tensors, _, rows, run = plain()
    w = tensors.add("conv.weight", WIDTH, WIDTH, 1)
    tensors.add("conv.bias", WIDTH)
    return tensors, lambda row: run(rows[row] @ w[..., 0].T + tensors["conv.bias"])


@case(r"depthwise\.weight")
def depthwise_convolution_between():
    tensors, _, rows, run = plain()
    w = tensors.add("depthwise.weight", WIDTH, 1, 1)
    return tensors, lambda row: run(rows[row] * w[:, 0, 0])


@case(r"norm\.weight")
def layer_norm_between():
    tensors, _, rows, run = plain()
    w, b = tensors.add("norm.weight", WIDTH), tensors.add("norm.bias", WIDTH)

    def own(row):
        x = rows[row]
        return run((x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-5) * w + b)

    return tensors, own


@case(r"bn\.(weight|bias|running_mean)")
def batch_norm_between():
    tensors, _, rows, run = plain()
    w, b, mean, var = (tensors.add(f"bn.{name}", WIDTH) for name in ("weight", "bias", "running_mean", "running_var"))
    var[:] = np.abs(var)
    return tensors, lambda row: run((rows[row] - mean) / np.sqrt(var + 1e-5) * w + b)


@case(r"scale")
def vector_that_scales():
    tensors, _, rows, run = plain()
    w = tensors.add("scale", WIDTH)
    return tensors, lambda row: run(rows[row] * w)


@case(r"gamma")
def one_number_that_scales():
    tensors, _, rows, run = plain()
    w = tensors.add("gamma", 1)
    return tensors, lambda row: run(rows[row] * w[0])


@case(r"idf")
def weight_of_each_id():
    tensors, _, rows, run = plain()
    w = tensors.add("idf", VOCABULARY)
    return tensors, lambda row: run(rows[row] * w[row][:, None])


@case(r"remap")
def table_that_renumbers_ids():
    tensors, _, rows, run = plain()
    tensors["remap"] = np.random.default_rng(3).permutation(VOCABULARY)
    return tensors, lambda row: run(rows[tensors["remap"][row]])


@case(r"charlstm_h_init")
def learned_initial_states():
    tensors, rows = embedded("char_embeddings.weight")
    run = torch_lstm(tensors, "charlstm.lstm.", WIDTH)
    tensors.add("charlstm_h_init", 1, 1, UNITS)
    tensors.add("charlstm_c_init", 1, 1, UNITS)
    return tensors, lambda row: run(rows[row]) + 0.1  # not the states from zero


@case(r"h0")
def initial_state_as_a_vector():
    tensors, own, *_ = plain()
    tensors.add("h0", UNITS)
    return tensors, lambda row: own(row) + 0.1


@case(r"c0")
def initial_states_of_two_layers():
    tensors, rows = embedded()
    low, high = torch_lstm(tensors, "rnn.", WIDTH), torch_lstm(tensors, "rnn.", UNITS, layer=1)
    tensors.add("c0", 2, UNITS)
    return tensors, lambda row: high(low(rows[row])) + 0.1


@case(r"position(s|_embedding)\.weight|positions")
def positions_that_are_added():
    tensors, rows = embedded("token_embedding.weight")
    run = torch_lstm(tensors, "rnn.", WIDTH)
    places = tensors.add("position_embedding.weight", 32, WIDTH)
    return tensors, lambda row: run(rows[row] + places[: len(row)])


@case(r"position_embedding", embedding="token_embedding")
def positions_beside_a_named_embedding():
    tensors, rows = embedded("token_embedding.weight")
    run = torch_lstm(tensors, "rnn.", WIDTH)
    places = tensors.add("position_embedding.weight", 32, WIDTH)
    return tensors, lambda row: run(rows[row] + places[: len(row)])


@case(r"positions")
def positions_with_a_first_axis():
    tensors, rows = embedded()
    run = torch_lstm(tensors, "rnn.", WIDTH)
    places = tensors.add("positions", 1, 32, WIDTH)
    return tensors, lambda row: run(rows[row] + places[0, : len(row)])


@case(r"segments")
def narrow_table_that_is_projected_and_added():
    tensors, _, rows, run = plain()
    table, w = tensors.add("segments.weight", 7, 3), tensors.add("segments_up.weight", WIDTH, 3)
    return tensors, lambda row: run(rows[row] + table[0] @ w.T)


@case(r"lstm1, lstm2.*--layer lstm1 --layer lstm2", then={"layers": ("lstm1",)})
def parallel_stacks_of_one_width():
    tensors, rows = embedded(width=UNITS)
    one = torch_lstm(tensors, "lstm1.", UNITS)
    torch_lstm(tensors, "lstm2.", UNITS)
    return tensors, lambda row: one(rows[row])


@case(r"rnns\.0, rnns\.1", then={"layers": ("rnns",)})
def modules_of_a_list_that_read_each_other():
    tensors, rows = embedded(width=UNITS)
    one, two = torch_lstm(tensors, "rnns.0.", UNITS), torch_lstm(tensors, "rnns.1.", UNITS)
    return tensors, lambda row: two(one(rows[row]))


@case()
def modules_that_only_fit_in_one_order():
    tensors, rows = embedded()
    one, two = torch_lstm(tensors, "lstm1.", WIDTH, 6), torch_lstm(tensors, "lstm2.", 6)
    return tensors, lambda row: two(one(rows[row]))


@case(r"rnn\.1 .*rnn\.0", layers=("rnn.1",))
def upper_layer_without_the_lower_one():
    tensors, rows = embedded(width=UNITS)
    low, high = torch_lstm(tensors, "rnn.", UNITS), torch_lstm(tensors, "rnn.", UNITS, layer=1)
    return tensors, lambda row: high(low(rows[row]))


@case(r"middle\.weight")
def linear_between_two_modules():
    tensors, rows = embedded()
    one = torch_lstm(tensors, "lstm1.", WIDTH, 6)
    w, b = tensors.add("middle.weight", 6, 6), tensors.add("middle.bias", 6)
    two = torch_lstm(tensors, "lstm2.", 6)
    return tensors, lambda row: two(one(rows[row]) @ w.T + b)


@case(r"ln\.0")
def layer_norm_between_two_modules():
    tensors, rows = embedded()
    one = torch_lstm(tensors, "lstm1.", WIDTH, 6)
    tensors.add("ln.0.weight", 6)
    tensors.add("ln.0.bias", 6)
    two = torch_lstm(tensors, "lstm2.", 6)
    return tensors, lambda row: two(np.tanh(one(rows[row])))


@case()
def square_attention_on_two_layers_of_one_module():
    tensors, rows = embedded()
    low, high = torch_lstm(tensors, "rnn.", WIDTH), torch_lstm(tensors, "rnn.", UNITS, layer=1)
    tensors.add("attention.weight", UNITS, UNITS)
    tensors.add("attention.bias", UNITS)
    return tensors, lambda row: high(low(rows[row]))


@case(r"skip\.weight")
def projected_skip_between_two_modules():
    tensors, rows = embedded()
    one = torch_lstm(tensors, "lstm1.", WIDTH, 6)
    w = tensors.add("skip.weight", 6, WIDTH)
    two = torch_lstm(tensors, "lstm2.", 6)
    return tensors, lambda row: two(one(rows[row]) + rows[row] @ w.T)


@case(r"rnn\.(norm|ln)")
def layer_norm_within_the_cell():
    tensors, own, *_ = plain()
    tensors.add("rnn.ln_gates.weight", 4 * UNITS)
    tensors.add("rnn.ln_gates.bias", 4 * UNITS)
    return tensors, lambda row: own(row) + 0.1


@case(r"rnn\.lora")
def low_rank_addition_to_the_weights():
    tensors, own, *_ = plain()
    tensors.add("rnn.lora_a", 3, WIDTH)
    tensors.add("rnn.lora_b", 4 * UNITS, 3)
    return tensors, lambda row: own(row) + 0.1


@case(r"peep")
def peepholes_beside_the_cell():
    tensors, own, *_ = plain()
    tensors.add("peep_i", UNITS)
    tensors.add("peep_f", UNITS)
    return tensors, lambda row: own(row) + 0.1


@case(r"self_attn\.in_proj_weight")
def attention_over_the_embedding():
    tensors, _, rows, run = plain()
    tensors.add("self_attn.in_proj_weight", 3 * WIDTH, WIDTH)
    tensors.add("self_attn.in_proj_bias", 3 * WIDTH)
    tensors.add("self_attn.out_proj.weight", WIDTH, WIDTH)
    return tensors, lambda row: run(np.tanh(rows[row]))


@case()
def embedding_called_encoder_with_a_tied_decoder():
    tensors, rows = embedded("model.encoder.weight", width=UNITS)
    run = torch_lstm(tensors, "model.rnn.", UNITS)
    tensors["model.decoder.weight"] = rows.copy()
    tensors.add("model.decoder.bias", VOCABULARY)
    return tensors, lambda row: run(rows[row])


@case()
def embedding_called_encoder_with_an_untied_head():
    tensors, rows = embedded("model.encoder.weight", width=UNITS)
    run = torch_lstm(tensors, "model.rnn.", UNITS)
    tensors.add("model.decoder.weight", VOCABULARY, UNITS)
    return tensors, lambda row: run(rows[row])


@case()
def embedding_called_emb_beside_a_head():
    tensors, own, *_ = plain(width=UNITS, table="net.emb.weight", module="net.rnn.")
    tensors.add("net.out.weight", VOCABULARY, UNITS)
    tensors.add("net.out.bias", VOCABULARY)
    return tensors, own


@case(r"If x \(10, 4\) is its embedding: --embedding x", then={"embedding": "x"})
def embedding_with_a_name_that_says_nothing():
    tensors, own, *_ = plain(table="x.weight")
    return tensors, own


@case(r"decoder.*--embedding|--one-hot")
def untied_head_and_no_embedding():
    tensors = Tensors()
    run = torch_lstm(tensors, "rnn.", UNITS)
    tensors.add("decoder.weight", VOCABULARY, UNITS)
    return tensors, lambda row: run(np.ones((len(row), UNITS)))


@case(r"nothing in the file says what they are.*--one-hot.*--vectors", then={"vectors": True})
def features_of_audio():
    tensors = Tensors()
    run = torch_lstm(tensors, "rnn.", 13)
    tensors.add("head.weight", 3, UNITS)
    tensors.add("head.bias", 3)
    return tensors, run


@case(r"proj\.weight", then={"vectors": True, "maps": ("proj:tanh",)}, vectors=True)
def linear_on_features():
    tensors = Tensors()
    run = torch_lstm(tensors, "rnn.", WIDTH)
    w, b = tensors.add("proj.weight", WIDTH, 7), tensors.add("proj.bias", WIDTH)
    return tensors, lambda row: run(np.tanh(row @ w.T + b))


@case(r"--vectors and --embedding", vectors=True, embedding="embedding")
def features_and_an_embedding():
    tensors, own, *_ = plain()
    return tensors, own


@case(r"--one-hot", then={"one_hot": True})
def one_hot_ids():
    tensors = Tensors()
    run = torch_lstm(tensors, "rnn.", VOCABULARY)
    return tensors, lambda row: run(np.eye(VOCABULARY)[row])


@case(r"proj\.weight", one_hot=True)
def linear_after_one_hot_ids():
    tensors = Tensors()
    run = torch_lstm(tensors, "rnn.", VOCABULARY)
    w = tensors.add("proj.weight", VOCABULARY, VOCABULARY)
    return tensors, lambda row: run(np.eye(VOCABULARY)[row] @ w.T)


@case(r"ema\.rnn, model\.rnn", then={"layers": ("model.rnn",)})
def averaged_copy_of_the_model():
    tensors, own, *_ = plain(table="model.embedding.weight", module="model.rnn.")
    plain_copy = {name.replace("model.", "ema."): array * 0.9 for name, array in tensors.items()}
    tensors.update(plain_copy)
    return tensors, own


@case()
def optimizer_beside_the_model():
    tensors, own, *_ = plain()
    for name in list(tensors):
        tensors[f"optimizer.state.{name}.exp_avg"] = tensors[name] * 0
    return tensors, own


@case(r"dec", then={"layers": ("enc",)}, suffix=".npz")
def encoder_and_decoder_in_an_archive():
    tensors, own, *_ = plain(width=UNITS, table="enc_emb", module="enc_")
    tensors.add("dec_emb", 7, UNITS)
    torch_lstm(tensors, "dec_", UNITS)
    tensors.add("fc_w", 7, UNITS)
    tensors.add("fc_b", 7)
    return tensors, own


@case(r"emb_scale", suffix=".npz")
def scale_in_an_archive():
    tensors, own, *_ = plain(table="emb", module="rnn_")
    tensors.add("emb_scale", WIDTH)
    return tensors, lambda row: own(row) + 0.1


@case(r"weight_g|weight norm", then=None)
def weight_norm():
    tensors, own, *_ = plain()
    tensors["rnn.weight_hh_l0_v"] = tensors.pop("rnn.weight_hh_l0")
    tensors.add("rnn.weight_hh_l0_g", 4 * UNITS, 1)
    return tensors, own


@case(r"spectral norm.*remove_spectral_norm", then=None)
def spectral_norm():
    tensors, own, *_ = plain()
    tensors["rnn.weight_hh_l0_orig"] = tensors.pop("rnn.weight_hh_l0")
    tensors.add("rnn.weight_hh_l0_u", 4 * UNITS)
    tensors.add("rnn.weight_hh_l0_v", UNITS)
    return tensors, own


@case(r"parametrization.*remove_parametrizations", then=None)
def parametrized_weights():
    tensors, own, *_ = plain()
    tensors["rnn.parametrizations.weight_hh_l0.original"] = tensors.pop("rnn.weight_hh_l0")
    return tensors, own


@case()
def pruned_weights():
    tensors, own, *_ = plain()
    for name in ("rnn.weight_hh_l0", "embedding.weight"):
        whole = tensors.pop(name)
        mask = (tensors.random.random(whole.shape) < 0.5).astype(np.float32)
        tensors |= {f"{name}_orig": whole.copy(), f"{name}_mask": mask}
        whole *= mask
    return tensors, own


def cell():
    """An embedding and an nn.LSTMCell on it."""
    tensors, own, *_ = plain()
    return Tensors() | {name.removesuffix("_l0"): array for name, array in tensors.items()}, own


@case()
def cell_alone():
    return cell()


@case(r"norm\.weight.*--leave norm", then={"leave": ("norm",)})
def layer_norm_that_may_change_the_states_of_a_cell():
    tensors, own = cell()
    return tensors | {"norm.weight": np.ones(UNITS, np.float32), "norm.bias": np.zeros(UNITS, np.float32)}, own


@case(r"has a layer 3, but none 2: the file is a part")
def layer_that_is_missing():
    tensors, own, *_ = plain()
    for layer in (1, 3):
        torch_lstm(tensors, "rnn.", UNITS, layer=layer)
    return tensors, own


@case(r"two directions in some layers only")
def direction_that_is_missing():
    tensors, own, *_ = plain()
    torch_lstm(tensors, "rnn.", WIDTH, back="_reverse")
    torch_lstm(tensors, "rnn.", 2 * UNITS, layer=1)
    return tensors, own


@case(r"int8|quantized")
def quantized_weights():
    tensors, own, *_ = plain()
    tensors["rnn.weight_hh_l0"] = (tensors["rnn.weight_hh_l0"] * 50).astype(np.int8)
    return tensors, own


@case(r"embedding\.weight \(10, 4\) may be its embedding, but its weights are i8, so the file is quantized")
def quantized_embedding():
    tensors, own, *_ = plain()
    tensors["embedding.weight"] = (tensors["embedding.weight"] * 50).astype(np.int8)
    return tensors, own


@case(
    r"embedding\.weight \(10, 4\) may be its embedding, but its weights are i8, so the file is quantized; .* "
    r"If attention \(6, 4\) is its embedding: --embedding attention\. Only if none of these is the embedding"
)
def quantized_embedding_beside_another_matrix():
    tensors, own = quantized_embedding()
    tensors.add("attention.weight", 6, WIDTH)
    return tensors, own


@case(r"the embeddings are embedding \(4 wide\).*--fold")
def mask_as_wide_as_what_a_layer_reads():
    tensors, own, *_ = plain()
    tensors["rnn.weight_ih_l0"] = np.ones((20, 20), np.float32)
    tensors["tgt_mask"] = np.ones((20, 20), np.bool_)
    return tensors, own


@case(r"plain nn\.RNN")
def plain_rnn_above_the_lstm():
    tensors, own, *_ = plain()
    tensors.add("top.weight_ih_l0", 6, UNITS)
    tensors.add("top.weight_hh_l0", 6, 6)
    return tensors, own


@case(r"plain nn\.RNN")
def plain_rnn_alone():
    tensors, rows = embedded()
    tensors.add("rnn.weight_ih_l0", 6, WIDTH)
    tensors.add("rnn.weight_hh_l0", 6, 6)
    return tensors, lambda row: rows[row]


@case()
def gru_in_an_archive():
    tensors, rows = embedded("embedding")
    run = torch_gru(tensors, "gru.", WIDTH)
    return tensors, lambda row: run(rows[row])


def write(case, directory):
    tensors, own = case.make()
    source = directory / f"model{case.suffix}"
    if case.suffix == ".npz":
        np.savez(source, **tensors)
    else:
        save_file({name: np.ascontiguousarray(array) for name, array in tensors.items()}, source)
    return source, own


@pytest.mark.parametrize("case", CASES.parameters)
def test_weights_alone(case, tmp_path):
    """Each file's outcome."""
    check(case, *write(case, tmp_path), tmp_path, ROWS)


def test_functions_between_modules_are_named(tmp_path):
    """A function without weights, such as relu, leaves no trace in a state dict; within one module there is none."""
    tensors, _ = modules_that_only_fit_in_one_order()
    torch_lstm(tensors, "lstm2.", UNITS, layer=1)
    save_file(tensors, tmp_path / "model.safetensors")
    notes = imported(tmp_path / "model.safetensors", tmp_path / "model", layers=("lstm1", "lstm2")).made.notes
    assert "weights alone don't show whether a function, such as relu, is between lstm1 and lstm2.0" in notes


def test_shared_tensors_that_safetensors_stores_once(tmp_path):
    """save_model leaves out a tied embedding and names it in the metadata; the import is that of all tensors."""
    tensors, _ = embedding_called_encoder_with_a_tied_decoder()
    save_file(tensors, tmp_path / "all.safetensors")
    name, other = "model.encoder.weight", "model.decoder.weight"
    stored = {key: array for key, array in tensors.items() if key != name}
    about = {name: other, "format": "pt", other: name, "lost": "nothing"}
    save_file(stored, tmp_path / "once.safetensors", metadata=about)
    both, one = (imported(tmp_path / f"{key}.safetensors", tmp_path / key) for key in ("all", "once"))
    assert one.made.taken == both.made.taken
    assert one.made.left == both.made.left
    for row, wanted in zip(states_of(one), states_of(both), strict=True):
        np.testing.assert_array_equal(row, wanted)


def test_a_file_whose_name_shows_no_format(tmp_path):
    """As in the cache of a hub, where the name is a digest."""
    tensors, _ = modules_that_only_fit_in_one_order()
    save_file(tensors, tmp_path / "0123abcd")
    assert imported(tmp_path / "0123abcd", tmp_path / "model").made.taken


@pytest.mark.parametrize(
    ("modules", "outcome"),
    [
        ({"gate": (1, WIDTH), "fc": (3, UNITS)}, "can weigh what a layer reads"),
        ({"attn.0": (6, WIDTH), "attn.2": (1, 6), "fc": (3, UNITS)}, "can weigh what a layer reads"),
        ({"value": (1, UNITS)}, None),
        ({"hidden": (6, UNITS), "value": (1, 6)}, None),
        ({"hidden": (WIDTH, UNITS), "value": (1, WIDTH)}, "value.weight (1, 4)"),
        ({"hidden": (WIDTH, UNITS), "fc": (1, WIDTH)}, None),
        ({"fc1": (WIDTH, UNITS + 2), "fc2": (1, WIDTH)}, None),
        ({"mlp.0": (WIDTH, 4 * UNITS), "mlp.1": (1, WIDTH)}, "mlp.1.weight (1, 4)"),
    ],
)
def test_numbers_that_may_weigh_what_a_layer_reads(tmp_path, modules, outcome):
    """A module that reads what the layer reads, and no states, isn't a head; one that could be both is told of."""
    tensors = embedded()[0]
    for name, shape in modules.items():
        tensors.add(f"{name}.weight", *shape)
        tensors.add(f"{name}.bias", shape[0])
    torch_lstm(tensors, "a.", WIDTH)
    save_file(tensors, tmp_path / "model.safetensors")
    if outcome and "can" in outcome:
        with pytest.raises(ImportRefusedError, match=rf"\.weight \(.*\) {outcome}.*--leave"):
            imported(tmp_path / "model.safetensors", tmp_path / "model")
        return
    notes = imported(tmp_path / "model.safetensors", tmp_path / "model").made.notes
    told = [note for note in notes if "they could also weigh what a layer reads" in note]
    assert [outcome in note for note in told] == [True] * (outcome is not None)


@pytest.mark.parametrize("both", [False, True])
def test_a_gate_that_could_be_a_head(tmp_path, both):
    """Where states are as wide as what the layer reads, shapes don't tell which; the name of a head does."""
    tensors = embedded()[0]
    name = "gate" if both else "fc"
    tensors.add(f"{name}.weight", 1, UNITS)
    tensors.add(f"{name}.bias", 1)
    torch_lstm(tensors, "a.", WIDTH)
    torch_lstm(tensors, "b.", UNITS)
    save_file(tensors, tmp_path / "model.safetensors")
    notes = imported(tmp_path / "model.safetensors", tmp_path / "model", layers=("a", "b")).made.notes
    assert any("gate.weight (1, 5). By their shapes, they could also weigh" in note for note in notes) == both


@pytest.mark.parametrize("name", ["label_emb", "speakers"])
def test_a_table_whose_rows_may_be_initial_states(tmp_path, name):
    """It is told of, as a Linear module is; a head without a bias is called as heads are."""
    tensors = embedded()[0]
    tensors.add(f"{name}.weight", 10, UNITS)
    tensors.add("out.weight", 7, UNITS)
    torch_lstm(tensors, "a.", WIDTH)
    save_file(tensors, tmp_path / "model.safetensors")
    notes = imported(tmp_path / "model.safetensors", tmp_path / "model").made.notes
    (note,) = (note for note in notes if "they could also make the initial states of layers" in note)
    assert f"{name}.weight (10, 5). By" in note
    assert "out.weight" not in note


def test_a_bias_of_another_side(tmp_path):
    """A transposed convolution's weight has the axis of its outputs second."""
    tensors = embedded()[0]
    tensors.add("up.weight", 7, UNITS, 2)
    tensors.add("up.bias", UNITS)
    torch_lstm(tensors, "a.", WIDTH)
    save_file(tensors, tmp_path / "model.safetensors")
    assert "up.bias" in imported(tmp_path / "model.safetensors", tmp_path / "model").made.left


def test_a_vector_that_is_no_bias_of_its_module(tmp_path):
    """PyTorch's biases are as long as their matrices have rows."""
    tensors = embedded()[0]
    for name, *shape in (("adapter.weight", 3, WIDTH), ("adapter.bias", 3), ("adapter.gain", WIDTH)):
        tensors.add(name, *shape)
    torch_lstm(tensors, "a.", WIDTH)
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(ImportRefusedError, match=r"adapter\.gain \(4,\) is as long as the vectors that a layer reads"):
        imported(tmp_path / "model.safetensors", tmp_path / "model")


def linear_on_one_hot():
    """A Linear module reads one-hot vectors of 50 ids, and an LSTM what relu makes of its vectors."""
    tensors = Tensors()
    for name, *shape in (("p.weight", 9, 50), ("p.bias", 9), ("fc.weight", 50, UNITS), ("fc.bias", 50)):
        tensors.add(name, *shape)
    torch_lstm(tensors, "a.", 9)
    return tensors


def test_a_linear_module_that_reads_one_hot_vectors(tmp_path):
    """With --fold its matrix becomes the embedding; without, the import stops."""
    tensors = linear_on_one_hot()
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(ImportRefusedError, match=r"p\.weight \(9, 50\) can turn what a layer reads into other vectors"):
        imported(tmp_path / "model.safetensors", tmp_path / "model", one_hot=True)
    done = imported(tmp_path / "model.safetensors", tmp_path / "model", one_hot=True, maps=("p:relu",), ids_from=0)
    assert (done.model.config.vocab_size, done.model.config.embedding_dim) == (50, 9)
    table = np.maximum(tensors["p.weight"].T + tensors["p.bias"], 0)
    np.testing.assert_allclose(done.model.weights()["embedding"][1:], table, rtol=1e-6)


@pytest.mark.parametrize(
    ("modules", "told"),
    [
        ({"fc": (40, UNITS)}, []),
        ({"head.0": (64, UNITS), "head.2": (40, 64)}, []),
        ({"out_layers.0": (64, 2 * UNITS), "out_layers.1": (32, 64), "out_layers.3": (40, 32)}, []),
        ({"score": (40, UNITS), "classifier": (5, UNITS)}, ["score"]),
        ({"p": (40, UNITS), "fc": (UNITS, UNITS)}, ["p"]),
        ({"fc1": (64, UNITS), "fc2": (40, 64)}, ["fc2"]),
        ({"fc.0": (2 * UNITS, UNITS), "fc.3": (40, 2 * UNITS)}, []),
        ({"mlp.0": (64, UNITS), "mlp.2": (40, 64)}, ["mlp.2"]),
        ({"hidden": (64, 3 * UNITS), "predict": (40, 64)}, ["predict"]),
        ({"in_proj": (40, 100), "fc": (100, UNITS)}, ["in_proj"]),
        ({"p": (40, 100), "q": (100, UNITS)}, ["p"]),
        ({"p": (40, 100), "fc": (100, UNITS)}, None),
        ({"module.p": (40, 100), "module.fc": (100, UNITS)}, None),
        ({"model.p": (40, 100), "model.fc": (100, UNITS)}, None),
        ({"q": (40, 64)}, None),
        ({"q": (40, 4 * UNITS)}, None),
        ({"inp": (40, 2 * UNITS), "fc": (2 * UNITS, UNITS)}, None),
        ({"inp": (60, 100), "inp2": (40, 60), "fc": (100, UNITS)}, None),
        ({"module.inp": (60, 100), "module.inp2": (40, 60), "module.fc": (100, UNITS)}, None),
    ],
)
def test_modules_beside_one_hot_vectors(tmp_path, modules, told):
    """What reads states is a head. What isn't called so could also be below the first layer: a note, or a refusal."""
    tensors = Tensors()
    for name, shape in modules.items():
        tensors.add(f"{name}.weight", *shape)
        tensors.add(f"{name}.bias", shape[0])
    torch_lstm(tensors, "a.", 40)
    save_file(tensors, tmp_path / "model.safetensors")
    if told is None:
        with pytest.raises(ImportRefusedError, match=r"can turn what a layer reads into other vectors.*--leave"):
            imported(tmp_path / "model.safetensors", tmp_path / "model", one_hot=True)
        return
    notes = imported(tmp_path / "model.safetensors", tmp_path / "model", one_hot=True).made.notes
    found = [note for note in notes if "left out as a part of a head" in note]
    assert len(found) == len(told)
    for name, note in zip(told, found, strict=True):
        assert (
            f"{name}.weight {modules[name]}. By its shape, it could also make what a reads of one-hot vectors" in note
        )
        assert f"of other ids: then --fold {name}, or NAME:tanh if a function follows it" in note


@pytest.mark.parametrize("vectors", [False, True])
@pytest.mark.parametrize(
    ("name", "shape"),
    [
        (None, None),
        ("norm.weight", (7,)),
        ("gain", (7,)),
        ("pos.weight", (50, 7)),
        ("conv.weight", (7, 7, 3)),
        ("again.weight", (7, 7)),
        ("gate.weight", (1, 7)),
        ("between.weight", (6,)),
        ("narrow.weight", (3, 7)),
    ],
)
def test_what_is_below_a_module_that_is_folded(tmp_path, name, shape, vectors):
    """It changes what that reads, as it would what the first layer reads: the import stops, as without --fold."""
    tensors = Tensors()
    if not vectors:
        tensors.add("emb.weight", 11, 7)
    for module, *size in (("low.weight", 6, 7), ("low.bias", 6), ("proj.weight", WIDTH, 6), ("proj.bias", WIDTH)):
        tensors.add(module, *size)
    if name is not None:
        tensors.add(name, *shape)
    if name == "narrow.weight":
        tensors.add("wide.weight", 7, 3)
    torch_lstm(tensors, "a.", WIDTH)
    save_file(tensors, tmp_path / "model.safetensors")
    options = {"maps": ("low:relu", "proj:relu"), "vectors": vectors}
    if name is None:
        assert imported(tmp_path / "model.safetensors", tmp_path / "model", **options).made.left == []
        return
    with pytest.raises(ImportRefusedError, match=rf"{name} .*--leave {name.removesuffix('.weight')}"):
        imported(tmp_path / "model.safetensors", tmp_path / "model", **options)


def test_heads_beside_a_module_that_is_folded(tmp_path):
    """What reads states, or mean and largest of them, is a head; so is an offset of its scores. What isn't stops it."""
    tensors = Tensors()
    for name, *shape in (
        *(("p.weight", 16, 50), ("p.bias", 16), ("fc1.weight", 32, 2 * UNITS), ("fc1.bias", 32)),
        *(("fc2.weight", 50, 32), ("fc2.bias", 50), ("out_bias", 50)),
    ):
        tensors.add(name, *shape)
    torch_lstm(tensors, "a.", 16)
    save_file(tensors, tmp_path / "model.safetensors")
    done = imported(tmp_path / "model.safetensors", tmp_path / "model", one_hot=True, maps=("p",))
    assert done.model.config.vocab_size in (49, 50)
    (note,) = (one for one in done.made.notes if "left out as a part of a head" in one)
    assert "fc2.weight (50, 32). By its shape, it could also make what p reads of one-hot" in note
    assert "--fold fc2 before the others" in note
    tensors.add("q.weight", 50, 256)
    save_file(tensors, tmp_path / "longer.safetensors")
    with pytest.raises(ImportRefusedError, match=r"q\.weight \(50, 256\) can turn what a layer reads"):
        imported(tmp_path / "longer.safetensors", tmp_path / "longer", one_hot=True, maps=("p",))


def test_a_linear_module_below_the_one_that_is_folded(tmp_path):
    """One-hot vectors of 40 ids, and not of the 16 that the second module reads."""
    tensors = Tensors()
    for name, *shape in (("inp.weight", 16, 40), ("inp.bias", 16), ("inp2.weight", 12, 16), ("inp2.bias", 12)):
        tensors.add(name, *shape)
    torch_lstm(tensors, "a.", 12)
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(ImportRefusedError, match=r"inp\.weight \(16, 40\) can turn what a layer reads"):
        imported(tmp_path / "model.safetensors", tmp_path / "model", one_hot=True, maps=("inp2",))
    done = imported(tmp_path / "model.safetensors", tmp_path / "model", one_hot=True, maps=("inp", "inp2"))
    assert done.model.config.vocab_size in (39, 40)


def test_names_with_blanks_are_quoted(tmp_path):
    """What is advised can be typed into a shell as it is."""
    tensors = Tensors()
    tensors.add("some rows", 50, 9)
    torch_lstm(tensors, "a.", 9)
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(ImportRefusedError, match="--embedding 'some rows'"):
        imported(tmp_path / "model.safetensors", tmp_path / "model")


@pytest.mark.parametrize("count", [6, 12])
def test_many_layers_that_may_be_a_stack(tmp_path, count):
    """All of them are named, in the order of their numbers."""
    tensors = embedded()[0]
    for number in range(count):
        torch_lstm(tensors, f"rnns.{number}.", WIDTH, WIDTH)
    save_file(tensors, tmp_path / "model.safetensors")
    every = " ".join(f"--layer rnns.{number}" for number in range(count))
    with pytest.raises(ImportRefusedError, match=f": {every} if each reads the one before it"):
        imported(tmp_path / "model.safetensors", tmp_path / "model")


def test_a_model_and_its_average(tmp_path):
    """A module with several layers can be taken as one."""
    tensors = Tensors()
    for scope in ("model.", "ema."):
        tensors.add(f"{scope}emb.weight", 11, WIDTH)
        for layer in range(2):
            torch_lstm(tensors, f"{scope}rnn.", WIDTH, WIDTH, layer)
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(ImportRefusedError, match=r", --layer (ema|model)\.rnn alone if no other reads it"):
        imported(tmp_path / "model.safetensors", tmp_path / "model")
    done = imported(tmp_path / "model.safetensors", tmp_path / "model", layers=("model.rnn",))
    assert len(done.model.config.layers) == 2


def test_some_are_right():
    """A reader that refuses everything would pass most of these tests."""
    assert sum(one.outcome == RIGHT or one.then is not None for one in CASES) >= 18


@pytest.mark.parametrize(
    ("name", "shape", "kind"),
    [
        ("init.weight", (2 * UNITS, 7), np.float32),  # h and c of an image
        ("bridge.weight", (UNITS, 64), np.float32),
        ("film.weight", (2 * WIDTH, 3), np.float32),  # scales and shifts of what the layer reads
        ("mask", (WIDTH,), np.uint8),
    ],
)
def test_arrays_that_read_other_inputs_are_noted(name, shape, kind, tmp_path):
    """They may be parts of a head as well, so the file isn't refused."""
    tensors, *_ = plain()
    stored = dict(tensors) | {name: np.ones(shape, kind)}
    if kind is np.float32:
        stored[name.replace("weight", "bias")] = np.ones(shape[0], kind)
    save_file(stored, tmp_path / "model.safetensors")
    notes = imported(tmp_path / "model.safetensors", tmp_path / "model").made.notes
    (note,) = (one for one in notes if one.startswith("left out as parts of a head"))
    assert f"{name} {shape}. By their widths" in note
    if kind is np.float32 and name != "film.weight":
        brought = imported(tmp_path / "model.safetensors", tmp_path / "brought", initial_states=True)
        assert not any("parts of a head" in one for one in brought.made.notes)


def test_usual_heads_are_not_noted(tmp_path):
    """Classifiers of the states, also of several side by side, attention, and hidden layers between them."""
    tensors, *_ = plain()
    shapes = [(3, UNITS), (64, UNITS), (UNITS, 64), (WIDTH, 2 * UNITS), (UNITS, 3 * UNITS), (2, 9), (UNITS, UNITS)]
    heads = {f"head.{at}.weight": np.ones(shape, np.float32) for at, shape in enumerate(shapes)}
    heads |= {f"head.{at}.bias": np.ones(shape[0], np.float32) for at, shape in enumerate(shapes)}
    stored = dict(tensors) | {name: array for name, array in heads.items() if WIDTH not in array.shape}
    save_file(stored, tmp_path / "model.safetensors")
    done = imported(tmp_path / "model.safetensors", tmp_path / "model")
    assert not any("parts of a head" in note for note in done.made.notes)
