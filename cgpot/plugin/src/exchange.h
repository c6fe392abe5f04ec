// SPDX-License-Identifier: GPL-2.0-or-later
// What the operators of a compiled model know of the evaluation that calls them: how to reach the
// ranks that own its ghost nodes, and where the edges of each centre begin.
#pragma once

#include <cstdint>

namespace cgpot {

class Exchanger {
 public:
  virtual ~Exchanger() = default;
  // rows: (nodes, width), on the CPU. Rows of ghost nodes take the values of their owners.
  virtual void forward(double *rows, std::int64_t nodes, int width) = 0;
  virtual void forward(float *rows, std::int64_t nodes, int width) = 0;
  // Rows of ghost nodes are added to those of their owners and become zero.
  virtual void reverse(double *rows, std::int64_t nodes, int width) = 0;
  virtual void reverse(float *rows, std::int64_t nodes, int width) = 0;
};

struct Evaluation {
  Exchanger *exchanger = nullptr;             // without one, ghosts have no features
  // edges that are sorted by centre and end at nodes, as the edge index at this address
  const std::int64_t *index = nullptr;        // (2, edges)
  const std::int64_t *offsets = nullptr;      // (nodes + 1) first edge of each centre
  std::int64_t edges = 0, nodes = 0;
  bool centers = true;                        // whether the index holds the centres, or any values
};

// For this thread; null when it is over.
__attribute__((visibility("default"))) void set_evaluation(const Evaluation *evaluation);

}    // namespace cgpot
