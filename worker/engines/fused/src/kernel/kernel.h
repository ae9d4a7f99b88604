// The interface of a kernel: a table of functions for one instruction set and one arithmetic.
//
// A layer's weights are packed into panels. A panel is `lanes` units wide and contains all four gates of these units
// side by side, so one pass over its depth ends with everything that the cell update of the units needs:
//
//   panel p:  step 0: [i: lanes][f: lanes][g: lanes][o: lanes]   step 1: ...   up to steps_a + steps_b
//
// A step is one input, or a pair of inputs (bfloat16 dot products). The first steps_a steps multiply the layer's input,
// the other steps_b the previous state. In bfloat16 the depth of both is padded to whole blocks, and the order within a
// block is another; see blocks.h. Weights are scaled when they are packed, so that the sums are exponents of two: i, f,
// o by -log2(e), g by -2 log2(e). See gates.h; for gates that are a straight line, hard_gates.h.
#pragma once

#include <cstdint>

namespace unrolled {

constexpr int kGates = 4;

// The function of a map's results; mirrored in library.py.
enum class Activation : std::int32_t { linear = 0, tanh = 1, relu = 2, sigmoid = 3 };

struct PackedLayer {
  const void* panels;         // [panel_count][steps_a + steps_b][kGates * lanes] of steps; bfloat16: see blocks.h
  std::int64_t panel_count;   // ceil(units / lanes)
  std::int64_t steps_a;       // depth of the input; 0 if a table has its product
  std::int64_t steps_b;       // depth of the recurrent state
  std::int64_t units;
  std::int64_t panel_bytes;   // distance from one panel to the next
  float bound;                // of the cell states, in a kind that clips them; of a projection's results, or infinity
  Activation activation;      // of a dense map
};

// One layer over one block of nodes. Every array has one entry for each node of the block.
struct LayerBlock {
  std::int64_t nodes;
  const float* const* start;      // added to the products: bias or table row, panel p at + p * kGates * lanes
  const void* const* input;       // the layer's input (null if steps_a is 0)
  const void* const* recurrent;   // the parent's hidden state
  const float* const* cell_in;    // the parent's cell state, panel p at + p * lanes
  float* cell_out;                // [nodes], `cell_stride` floats apart
  void* hidden_out;               // [nodes], `hidden_stride` elements apart
  std::int64_t cell_stride;
  std::int64_t hidden_stride;
  float* const* outputs;          // for each node float32 (units) in the caller's array; or null
  bool outputs_read;              // whether this thread reads them soon: then they should stay in the cache
  float* sums;                    // scratch: [nodes][kGates * lanes]
  bool first_level;               // nodes without a parent: their previous state is zero
  // What a GRU that resets before the recurrent product keeps from its first pass to its second, `cell_stride` floats
  // apart: the sums of z, and the input's part of the candidate.
  float* updates;                 // also where the sums of products alone go
  float* candidates;
  void* gathered;                 // scratch of a kernel that multiplies tiles: the inputs of all nodes
};

// How numbers are rounded and products are summed. Mirrored in library.py. In bfloat16x3, a number is the sum of two
// bfloat16 numbers, its pieces, and a product is three products of pieces; see blocks.h.
enum class Arithmetic : std::int32_t { float32 = 0, bfloat16 = 1, bfloat16x3 = 2 };

struct Kernel {
  const char* isa;
  Arithmetic arithmetic;
  int lanes;             // units in a panel
  int tile_rows;         // the most nodes in a tile
  int step_inputs;       // inputs in one step
  int block_inputs;      // the depth is padded to a multiple of it
  int group_inputs;      // numbers that are in another order among each other, see elements.h; or 1
  bool tiles;            // whether weights are tiles, see run_tiles.h, and LayerBlock::gathered is needed
  int most_nodes;        // the most nodes in a block
  int cached_bytes;      // the most bytes of a block's inputs, if they leave it enough nodes; see states.cpp
  int pieces;            // bfloat16 numbers whose sum is a number: 1 or 2
  int element_bytes;     // bytes of one number of an input or a hidden state, in all its pieces
  // One pass over a block for each kind of layer (kinds.h); of two, the first is for sigmoid gates and the second for
  // gates that are a straight line.
  using RunLayer = void (*)(const PackedLayer&, const LayerBlock&);
  RunLayer lstm[2], clipped_lstm[2], gru[2], reset_gates[2], reset_candidate[2], projection, factors, dense, products;
  // Applies a function to `count` values; there is room for a whole vector after the last one.
  void (*activate)(Activation activation, float* values, std::int64_t count);
  // The two parts of an LSTM's cell, see gates/cell_parts.h.
  void (*cells)(std::int64_t count, std::int64_t apart, const float* gates, const float* cell_in, float* cell_out);
  void (*hidden)(std::int64_t count, const float* gate, const float* cell, float* hidden);
  // Only the sums: sums[node][panel_count][kGates * lanes], `sums_stride` floats apart. Null but in float32.
  void (*project)(const PackedLayer&, std::int64_t nodes, const float* start, const void* const* input,
                  float* sums, std::int64_t sums_stride);
  // Cell updates over plain arrays of unscaled sums, for the tests of the approximations.
  void (*cell_update)(std::int64_t count, const float* i, const float* f, const float* g, const float* o,
                      const float* cell_in, float* cell_out, float* hidden_out);
  // `rounds` rounds of a tile's multiplications, in registers only; returns the number of operations.
  double (*spin)(std::int64_t rounds);
  // The float32 kernel that makes the first layer's table, with the same lanes and with fused multiply-adds.
  const Kernel* (*table_kernel)();
};

// The kernels of an instruction set. Null if it has none for the arithmetic, or if the compiler could not build it for
// this machine's architecture.
const Kernel* amx_kernel(Arithmetic);
const Kernel* amx_emulated_kernel(Arithmetic);
const Kernel* avx512_kernel(Arithmetic);
const Kernel* avx512_bf16_kernel(Arithmetic);
const Kernel* avx2_kernel(Arithmetic);
const Kernel* portable_kernel(Arithmetic);

// Whether this processor's dot products of bfloat16 pairs round as blocks.h needs it. Call it only where there is
// AVX512_BF16.
bool pairs_agree();

// The kernel of an instruction set ("amx", "avx512_bf16", "avx512", "avx2", "portable", "amx-emulated", or null for the
// fastest one here) for an arithmetic; null if this machine can't run it. Where an instruction set has no kernel of its
// own for float32, it is that of the vector units beside it.
const Kernel* choose_kernel(const char* isa, Arithmetic arithmetic);

}  // namespace unrolled
