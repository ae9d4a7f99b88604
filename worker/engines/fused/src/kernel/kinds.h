// The kinds of layers: how each begins a node's sums and what it computes from them; see tile.h.
//
// One file, because the kinds share their parts: beginnings, prefetches and stores.
#pragma once

#include <cstdint>

#include "kernel/gates/activations.h"
#include "kernel/gates/cell_parts.h"
#include "kernel/gates/gru_gates.h"
#include "kernel/tile.h"

namespace unrolled {
namespace {

// Prefetches memory that is written to.
template <class P>
UNROLLED_INLINE void fetch_to_write(const void* at) {
  if constexpr (P::fetches_writes) __builtin_prefetch(at, 1);
}

// Prefetches the memory that a node's result at `unit` is written to.
template <class P>
UNROLLED_INLINE void fetch_result(const LayerBlock& block, std::int64_t node, std::int64_t unit) {
  const auto* const hidden = static_cast<const typename P::Element*>(block.hidden_out);
  fetch_to_write<P>(hidden + node * block.hidden_stride * P::pieces + place_of<P>(unit));
  if (block.outputs && (block.outputs_read || P::Isa::away_reads)) fetch_to_write<P>(block.outputs[node] + unit);
}

// A kind whose sums begin with a row of a table, or with a bias. Prefetches it a line at a time, and with the first
// line the node's other vectors.
template <class P>
struct Started {
  using Isa = typename P::Isa;
  static constexpr std::int64_t kFetches = (kGates * Isa::lanes * 4 + kLine - 1) / kLine;

  static UNROLLED_INLINE void fetch(const LayerBlock& block, const Place& place, std::int64_t line) {
    __builtin_prefetch(block.start[place.node] + place.panel * kGates * Isa::lanes + line * (kLine / 4));
    if (line) return;
    const std::int64_t unit = place.panel * Isa::lanes;
    __builtin_prefetch(block.cell_in[place.node] + unit);
    fetch_to_write<P>(block.cell_out + place.node * block.cell_stride + unit);
    fetch_result<P>(block, place.node, unit);
  }

  template <int R>
  static UNROLLED_INLINE void begin(const PackedLayer&, const LayerBlock& block, const Place& place,
                                    Sums<P, R>& sums) {
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const float* const start = block.start[place.node + r] + place.panel * kGates * Isa::lanes;
#pragma GCC unroll 4
      for (int gate = 0; gate < kGates; ++gate) sums[r][gate] = Isa::load(start + gate * Isa::lanes);
    }
  }
};

// Stores a node's state at `unit`, for what multiplies it.
template <class P>
UNROLLED_INLINE void store_state(const LayerBlock& block, std::int64_t node, std::int64_t unit,
                                 typename P::Isa::Vec state) {
  auto* const states = static_cast<typename P::Element*>(block.hidden_out) + node * block.hidden_stride * P::pieces;
  P::store_hidden(states + place_of<P>(unit), state);
}

// Where the results of a tile's nodes are stored, from `unit` on: for the next step, the next layer and the caller. It
// has read the block before anything is stored, because the compiler must assume that a store changes the block.
// Reading it again for every node would delay the products of the next tile, which overlap with this tile's gates.
template <class P>
struct Destination {
  using Isa = typename P::Isa;
  typename P::Element* const states;
  const std::int64_t apart;
  float* const* const outputs;  // or null
  const std::int64_t unit;
  const std::int64_t left;      // units from `unit` on
  const bool outputs_read;

  UNROLLED_INLINE Destination(const PackedLayer& layer, const LayerBlock& block, std::int64_t node, std::int64_t at)
      : states(static_cast<typename P::Element*>(block.hidden_out) + node * block.hidden_stride * P::pieces +
               place_of<P>(at)),
        apart(block.hidden_stride * P::pieces),
        outputs(block.outputs ? block.outputs + node : nullptr),
        unit(at),
        left(layer.units - at),
        outputs_read(block.outputs_read) {}

  template <int R>
  UNROLLED_INLINE void store(const typename Isa::Vec (&results)[R]) const {
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) P::store_hidden(states + r * apart, results[r]);
    if (!outputs) return;
    if (left < Isa::lanes) {
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) Isa::store_first(outputs[r] + unit, results[r], static_cast<int>(left));
    } else if (outputs_read) {
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) Isa::store(outputs[r] + unit, results[r]);
    } else {
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) Isa::store_away(outputs[r] + unit, results[r]);
    }
  }
};

// Stores one node's result.
template <class P>
UNROLLED_INLINE void store_result(const PackedLayer& layer, const LayerBlock& block, std::int64_t node,
                                  std::int64_t unit, typename P::Isa::Vec result) {
  const typename P::Isa::Vec results[1] = {result};
  Destination<P>(layer, block, node, unit).template store<1>(results);
}

// A kind whose gates are applied to all four sums at once, with a vector that is carried from step to step in float32:
// an LSTM's cell state, or a GRU's state.
template <class P, class Update>
struct Recurrent : Started<P> {
  using Isa = typename P::Isa;

  template <int R>
  static UNROLLED_INLINE void finish(const PackedLayer& layer, const LayerBlock& block, const Place& place,
                                     Sums<P, R>& sums) {
    const std::int64_t unit = place.panel * Isa::lanes;
    typename Isa::Vec carried[R], results[R];
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) carried[r] = Isa::load(block.cell_in[place.node + r] + unit);
    const Destination<P> to(layer, block, place.node, unit);
    const std::int64_t apart = block.cell_stride;
    float* const cells = block.cell_out + place.node * apart + unit;
    Update::template apply<R>(layer, sums, carried, results);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) Isa::store(cells + r * apart, carried[r]);
    to.template store<R>(results);
  }
};

template <class P, class Gate, bool clipped>
struct LstmUpdate {
  template <int R, class Vec>
  static UNROLLED_INLINE void apply(const PackedLayer& layer, Vec (&sums)[R][kGates], Vec (&cells)[R],
                                    Vec (&hidden)[R]) {
    using Isa = typename P::Isa;
    if constexpr (clipped) {
      update_cells<Isa, P::fine, R>(Gate{}, Clipped<Isa>{layer.bound}, sums, cells, hidden);
    } else {
      update_cells<Isa, P::fine, R>(Gate{}, Unclipped<Isa>{}, sums, cells, hidden);
    }
  }
};

template <class P, class Gate, bool clipped = false>
struct Lstm : Recurrent<P, LstmUpdate<P, Gate, clipped>> {
  using Input = To<0, 1, 2, 3>;
  using State = To<0, 1, 2, 3>;
};

template <class P, class Gate>
struct GruUpdate {
  template <int R, class Vec>
  static UNROLLED_INLINE void apply(const PackedLayer&, Vec (&sums)[R][kGates], Vec (&states)[R], Vec (&hidden)[R]) {
    update_gru<typename P::Isa, P::fine, R>(Gate{}, sums, states);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) hidden[r] = states[r];
  }
};

// A unit's sums are z, r, hx and hs, from three quarters of an LSTM's products.
template <class P, class Gate>
struct Gru : Recurrent<P, GruUpdate<P, Gate>> {
  using Input = To<0, 1, 2>;
  using State = To<0, 1, 3>;
};

// A GRU that resets before the recurrent product needs r * state of all units for its candidates, so there are two
// passes over a block. The first computes z, r and the input's part of the candidate.
template <class P, class Gate>
struct ResetGates : Started<P> {
  using Isa = typename P::Isa;
  using Input = To<0, 1, 2>;
  using State = To<0, 1>;

  template <int R>
  static UNROLLED_INLINE void finish(const PackedLayer&, const LayerBlock& block, const Place& place,
                                     Sums<P, R>& sums) {
    const std::int64_t unit = place.panel * Isa::lanes;
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const std::int64_t node = place.node + r;
      const typename Isa::Vec state = Isa::load(block.cell_in[node] + unit);
      store_state<P>(block, node, unit, Isa::mul(state, gate_value<Isa, P::fine>(Gate{}, sums[r][1])));
      Isa::store(block.updates + node * block.cell_stride + unit, sums[r][0]);
      Isa::store(block.candidates + node * block.cell_stride + unit, sums[r][2]);
    }
  }
};

// A kind whose panels are kGates * lanes units wide: the four sums of a panel belong to neighbouring units.
template <class P>
struct Wide {
  using Isa = typename P::Isa;
  using Input = To<0, 1, 2, 3>;
  using State = To<0, 1, 2, 3>;
  static constexpr std::int64_t kFetches = (kGates * Isa::lanes * 4 + kLine - 1) / kLine;

  static std::int64_t first_unit(const Place& place, int group) {
    return (place.panel * kGates + group) * Isa::lanes;
  }
  static UNROLLED_INLINE void fetch(const LayerBlock& block, const Place& place, std::int64_t line) {
    fetch_result<P>(block, place.node, first_unit(place, 0) + line * (kLine / 4));
  }
};

// Only the products of an LSTM's panels: a norm of all gates follows.
template <class P>
struct Products {
  using Isa = typename P::Isa;
  using Input = To<0, 1, 2, 3>;
  using State = To<0, 1, 2, 3>;
  static constexpr std::int64_t kFetches = (kGates * Isa::lanes * 4 + kLine - 1) / kLine;

  static UNROLLED_INLINE float* place_of(const LayerBlock& block, std::int64_t node, std::int64_t panel) {
    return block.updates + node * block.cell_stride + panel * kGates * Isa::lanes;
  }
  static UNROLLED_INLINE void fetch(const LayerBlock& block, const Place& place, std::int64_t line) {
    fetch_to_write<P>(place_of(block, place.node, place.panel) + line * (kLine / 4));
  }
  template <int R>
  static UNROLLED_INLINE void begin(const PackedLayer& layer, const LayerBlock& block, const Place& place,
                                    Sums<P, R>& sums) {
    Started<P>::template begin<R>(layer, block, place, sums);
  }
  template <int R>
  static UNROLLED_INLINE void finish(const PackedLayer&, const LayerBlock& block, const Place& place,
                                     Sums<P, R>& sums) {
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      float* const to = place_of(block, place.node + r, place.panel);
#pragma GCC unroll 4
      for (int gate = 0; gate < kGates; ++gate) Isa::store(to + gate * Isa::lanes, sums[r][gate]);
    }
  }
};

// The second pass computes the candidate's recurrent part and the new state.
template <class P, class Gate>
struct ResetCandidate : Wide<P> {
  using Isa = typename P::Isa;

  template <int R>
  static UNROLLED_INLINE void begin(const PackedLayer& layer, const LayerBlock& block, const Place& place,
                                    Sums<P, R>& sums) {
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const float* const candidates = block.candidates + (place.node + r) * block.cell_stride;
#pragma GCC unroll 4
      for (int group = 0; group < kGates; ++group) {
        const std::int64_t unit = Wide<P>::first_unit(place, group);
        sums[r][group] = unit < layer.units ? Isa::load(candidates + unit) : Isa::set1(0.0f);
      }
    }
  }
  template <int R>
  static UNROLLED_INLINE void finish(const PackedLayer& layer, const LayerBlock& block, const Place& place,
                                     Sums<P, R>& sums) {
#pragma GCC unroll 4
    for (int group = 0; group < kGates; ++group) {
      const std::int64_t unit = Wide<P>::first_unit(place, group);
      if (unit >= layer.units) return;
      typename Isa::Vec updates[R], candidates[R], states[R];
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) {
        const std::int64_t node = place.node + r;
        updates[r] = Isa::load(block.updates + node * block.cell_stride + unit);
        candidates[r] = sums[r][group];
        states[r] = Isa::load(block.cell_in[node] + unit);
      }
      blend_gru<Isa, P::fine, R>(Gate{}, updates, candidates, states);
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) {
        const std::int64_t node = place.node + r;
        Isa::store(block.cell_out + node * block.cell_stride + unit, states[r]);
        store_result<P>(layer, block, node, unit, states[r]);
      }
    }
  }
};

// What the gates of a multiplicative LSTM read in place of the state: a product of the input times a product of the
// state. A panel is two groups of lanes wide: sums 0 and 1 are of the state, sums 2 and 3 of the input, and begin with a
// row of a table, or with zeros.
template <class P>
struct Factors {
  using Isa = typename P::Isa;
  using Input = To<2, 3>;
  using State = To<0, 1>;
  static constexpr int kGroups = 2;
  static constexpr std::int64_t kFetches = (kGroups * Isa::lanes * 4 + kLine - 1) / kLine;

  static UNROLLED_INLINE void fetch(const LayerBlock& block, const Place& place, std::int64_t line) {
    const std::int64_t unit = place.panel * kGroups * Isa::lanes + line * (kLine / 4);
    __builtin_prefetch(block.start[place.node] + unit);
    fetch_result<P>(block, place.node, unit);
  }
  template <int R>
  static UNROLLED_INLINE void begin(const PackedLayer&, const LayerBlock& block, const Place& place,
                                    Sums<P, R>& sums) {
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const float* const start = block.start[place.node + r] + place.panel * kGroups * Isa::lanes;
#pragma GCC unroll 2
      for (int group = 0; group < kGroups; ++group) {
        sums[r][group] = Isa::set1(0.0f);
        sums[r][kGroups + group] = Isa::load(start + group * Isa::lanes);
      }
    }
  }
  template <int R>
  static UNROLLED_INLINE void finish(const PackedLayer& layer, const LayerBlock& block, const Place& place,
                                     Sums<P, R>& sums) {
#pragma GCC unroll 2
    for (int group = 0; group < kGroups; ++group) {
      const std::int64_t unit = (place.panel * kGroups + group) * Isa::lanes;
      if (unit >= layer.units) return;
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) {
        store_result<P>(layer, block, place.node + r, unit, Isa::mul(sums[r][group], sums[r][kGroups + group]));
      }
    }
  }
};

// A dense map: a product, plus a bias, with which the sums begin.
template <class P>
struct Dense : Wide<P> {
  using Isa = typename P::Isa;

  template <int R>
  static UNROLLED_INLINE void begin(const PackedLayer&, const LayerBlock& block, const Place& place,
                                    Sums<P, R>& sums) {
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
      for (int group = 0; group < kGates; ++group) {
        sums[r][group] = Isa::load(block.start[place.node + r] + Wide<P>::first_unit(place, group));
      }
    }
  }
  template <int R>
  static UNROLLED_INLINE void finish(const PackedLayer& layer, const LayerBlock& block, const Place& place,
                                     Sums<P, R>& sums) {
#pragma GCC unroll 4
    for (int group = 0; group < kGates; ++group) {
      const std::int64_t unit = Wide<P>::first_unit(place, group);
      if (unit >= layer.units) return;
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) {
        store_result<P>(layer, block, place.node + r, unit, activated<Isa, P::fine>(layer.activation, sums[r][group]));
      }
    }
  }
};

// The projection of an LSTM's output.
template <class P>
struct Projection : Wide<P> {
  using Isa = typename P::Isa;

  template <int R>
  static UNROLLED_INLINE void begin(const PackedLayer&, const LayerBlock&, const Place&, Sums<P, R>& sums) {
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
      for (int group = 0; group < kGates; ++group) sums[r][group] = Isa::set1(0.0f);
    }
  }
  template <int R>
  static UNROLLED_INLINE void finish(const PackedLayer& layer, const LayerBlock& block, const Place& place,
                                     Sums<P, R>& sums) {
#pragma GCC unroll 4
    for (int group = 0; group < kGates; ++group) {
      const std::int64_t unit = Wide<P>::first_unit(place, group);
      if (unit >= layer.units) return;
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) {
        store_result<P>(layer, block, place.node + r, unit, Isa::limit(sums[r][group], Isa::set1(layer.bound)));
      }
    }
  }
};

}  // namespace
}  // namespace unrolled
