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

struct PairLoops {
  // The edges from each of `centers` atoms (`own`) to those of its candidates (atom in `x`, node) that
  // are closer than the root of `cutsq`: their nodes and the differences (3 each) times `scale`. The
  // candidates of centre n are those from first[n] to first[n + 1]; `atoms` holds `spare` more, any.
  // Writes where the edges of each centre begin (centers + 1) and returns their number.
  std::size_t (*select)(const double *x, const int *own, std::size_t centers,
                        const std::size_t *first, double scale, double cutsq, const int *atoms,
                        const int *nodes, std::int64_t *offsets, std::int64_t *neighbors,
                        double *vectors);
  // The entries of `points` but `point` whose positions are closer to `own` than the root of
  // `rangesq`, and their labels. Returns their number.
  std::size_t (*near)(const float *px, const float *py, const float *pz, const int *points,
                      const int *labels, std::size_t count, const float *own, float rangesq,
                      int point, int *to, int *to_labels);
  // Adds the gradient (edges, 3) of each edge to the row of its centre and takes it from that of its
  // neighbour; forces: (nodes, 4), the fourth column unused; offsets: (centers + 1) first edge of
  // each.
  void (*sum)(const double *gradient, const std::int64_t *offsets, const std::int64_t *neighbors,
              std::size_t centers, double *forces);
};

extern const PairLoops scalar_loops;
// Those for this processor.
const PairLoops &pair_loops();

}    // namespace cgpot
