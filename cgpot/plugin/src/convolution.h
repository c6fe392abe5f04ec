// SPDX-License-Identifier: GPL-2.0-or-later
// The message-passing step of an equivariant network,
//
//   out_i[p] = sum_j R_p(r_ij) * ( x_j (x) Y(r_ij) )[p],
//
// over the edges of each centre and the paths p of a tensor product (channel by channel, "uvu" in
// e3nn), with the radial functions R_p as cubic B-splines, and its derivative. With l = 0 alone it
// is the continuous-filter convolution of SchNet. Nothing as long as the edges times the features
// is stored. Several networks of one shape, the members of an ensemble, share what depends on the
// edges alone. No LAMMPS and no torch types here.
#pragma once

#include <cstdint>
#include <type_traits>
#include <vector>

namespace cgpot {

// Features come in groups of `lanes` channels, the last group of an irrep filled with zeros.
constexpr int lanes = 8;

struct Path {
  int l1, l2, l3;    // of the neighbour's features, of the edge, of the result; 3 at most
  int groups;        // channels / lanes, rounded up
  int in;            // first group of the input irrep: groups for m = 0, then for m = 1, ...
  int out;           // first group of the result, in the same order
  int weight;        // first group of the path in a row of the table
};

struct Plan {
  int in_groups = 0;        // of a node
  int out_groups = 0;
  int weight_groups = 0;    // of a row of the table
  int l_max = 0;            // of the edges
  std::vector<Path> paths;

  // Whether kernels for all paths exist.
  bool supported() const;
  // The largest l of features and edges.
  int largest() const;
};

// Edges sorted by centre.
struct Star {
  const std::int64_t *offsets = nullptr;      // (nodes + 1) first edge of each centre
  const std::int64_t *neighbors = nullptr;    // (edges)
  const double *vectors = nullptr;            // (edges, 3) x_neighbour - x_centre; or
  const float *singles = nullptr;             // the same in single precision
};

// Gradients of the vectors of edges, written in the precision of these.
struct EdgeGradient {
  double *vectors = nullptr;                  // (edges, 3), or
  float *singles = nullptr;
};

// Uniform cubic B-splines on [0, r_max]: rows (intervals + 3, weight_groups * lanes) of
// coefficients; the functions are zero beyond r_max.
template <typename T> struct RadialTable {
  const T *rows = nullptr;
  int intervals = 0;
  double r_max = 0.0;
};

// Rows of the result in groups, one for each centre: (centers, out_groups * lanes) at `rows`; or
// each at a time in the processor's cache, `move` taking it from there or filling it.
template <typename T, typename Context> struct RowsOf {
  T *rows = nullptr;
  void (*move)(Context *context, std::int64_t center, std::remove_const_t<T> *row) = nullptr;
  Context *context = nullptr;
};

// One network of those that are evaluated together; all have tables of one length and range.
template <typename T> struct Network {
  RadialTable<T> table;
  const T *x = nullptr;                       // (nodes, in_groups * lanes)
  RowsOf<T, void> out;                        // forward: every row of the range is written
  RowsOf<const T, const void> grad_out;       // backward
  T *grad_x = nullptr;                        // as x, added to; or null
  EdgeGradient grad_edges;                    // of all edges
};

// The kernels for one instruction set, for the centres from `begin` to `end`.
template <typename T> struct Kernels {
  void (*forward)(const Plan &, const Star &, const Network<T> *members, int count,
                  std::int64_t begin, std::int64_t end);
  void (*backward)(const Plan &, const Star &, const Network<T> *members, int count,
                   std::int64_t begin, std::int64_t end);
};

// Pair potentials as uniform cubic B-splines on [0, r_max], zero beyond.
struct PairTable {
  const double *coefficients;    // (pairs of types, intervals + 3)
  const std::int64_t *rows;      // (kinds, kinds) pair of two types
  const std::int64_t *types;     // (nodes)
  std::int64_t kinds;
  int intervals;
  double r_max;
};

// For the centres from `begin` to `end`.
struct PairKernels {
  // adds u(r)/2 of each edge to the energy of its centre
  void (*forward)(const PairTable &, const Star &, std::int64_t begin, std::int64_t end,
                  double *energy);
  // grad: (nodes)
  void (*backward)(const PairTable &, const Star &, std::int64_t begin, std::int64_t end,
                   const double *grad, const EdgeGradient &grad_edges);
};

const PairKernels &pair_kernels();

// The fastest kernels that this processor can run for a plan.
template <typename T> const Kernels<T> &kernels(const Plan &plan);

}    // namespace cgpot
