// SPDX-License-Identifier: GPL-2.0-or-later
// How a compiled model that is running reaches the ranks that own its ghost nodes. The pair style
// sets the exchanger while it evaluates a model; without one the operators `cgpot::exchange` and
// `cgpot::exchange_backward` give back what they get.
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

// For this thread; null for none.
__attribute__((visibility("default"))) void set_exchanger(Exchanger *exchanger);

}    // namespace cgpot
