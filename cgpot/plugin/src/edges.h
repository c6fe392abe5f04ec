// SPDX-License-Identifier: GPL-2.0-or-later
// The loops over pairs that make a graph: which candidates of a centre are within the cutoff, which
// points of a row of cells are near. For processors with AVX-512 eight or sixteen at a time, with the
// same results to the last bit. No LAMMPS and no torch types here.
#pragma once

#include <cstddef>
#include <cstdint>

namespace cgpot {

// Results are written in blocks: buffers need room for so many more than there are candidates.
constexpr std::size_t spare = 16;

// Pairs that may be edges.
struct Candidates {
  const double *x;              // (atoms, 3) positions
  const int *own;               // (centers) atom of each centre
  std::size_t centers;
  const std::size_t *first;     // (centers + 1) first pair of each centre
  const int *atoms;             // of each pair the other atom; `spare` more, any
  const int *nodes;             // of each pair the node that stands for it
  bool room;                    // whether one number more may be read behind the positions
};

// The edges among the candidates: those closer than the root of `cutsq` in units of which there are
// `scale` to one of `x`. Writes where the edges of each centre begin (centers + 1), the nodes, the
// differences (3 each) in that unit, and returns the number of edges.
template <typename T>
using Select = std::size_t (*)(const Candidates &candidates, double scale, double cutsq,
                               std::int64_t *offsets, std::int64_t *neighbors, T *vectors);

// Adds the gradient (edges, 3) of each edge to the row of its centre and takes it from that of its
// neighbour; forces: (nodes, 4), the fourth column unused; offsets: (centers + 1) first edge of each.
template <typename T>
using Sum = void (*)(const T *gradient, const std::int64_t *offsets, const std::int64_t *neighbors,
                     std::size_t centers, double *forces);

// Points in the order of cells: positions, what they are called.
struct PointRows {
  const float *x, *y, *z;
  const int *points, *labels;
};

// Some that follow each other.
struct Row {
  std::size_t begin, end;
};

struct PairLoops {
  Select<double> select;
  Select<float> select_single;    // the same edges, their differences rounded
  // Of the points in these rows those but `point` whose positions are closer to `own` than the root
  // of `rangesq`, and their labels. Returns their number.
  std::size_t (*near)(const PointRows &points, const Row *rows, std::size_t count,
                      const float *own, float rangesq, int point, int *to, int *to_labels);
  Sum<double> sum;
  Sum<float> sum_single;
};

extern const PairLoops scalar_loops;
// Those for this processor.
const PairLoops &pair_loops();

}    // namespace cgpot
