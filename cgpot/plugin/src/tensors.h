// SPDX-License-Identifier: GPL-2.0-or-later
// What the parts that know torch share.
#pragma once

#include "device_graph.h"

#include <stdexcept>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

namespace cgpot {

struct Tally;

// torch's exceptions carry a stack trace; their message is the part for the user.
template <typename F> auto with_reason(const char *what, F &&f) -> decltype(f())
{
  try {
    return f();
  } catch (const c10::Error &e) {
    throw std::runtime_error(std::string(what) + ": " + e.what_without_backtrace());
  } catch (const std::exception &e) {
    throw std::runtime_error(std::string(what) + ": " + e.what());
  }
}

struct DeviceGraph::Torch {
  double cutoff = 0.0, scale = 1.0;
  at::ScalarType type = at::kDouble;
  c10::Device device{at::kCPU};

  // pairs within the range, in the order of their centres
  at::Tensor centers;                  // (owned) int64, atom of each owned node
  at::Tensor near_center, near_atom, near_node;    // (candidates) int32
  bool doubtful = false;               // whether one of them may become excluded, or cease to be
  at::Tensor codes;                    // int64 those of excluded pairs
  std::int64_t codes_version = -1;
  // of this step
  std::vector<std::int64_t> host_types;            // what `types` holds
  at::Tensor types;                    // (padded nodes) int64
  at::Tensor index;                    // (2, padded edges) int64
  at::Tensor vectors;                  // (padded edges, 3) of `type`
  std::int64_t nodes = 0, owned = 0, edges = 0, computed = 0;

  // gradient: (padded edges, 3) on the device; sums as Tally::sum().
  void sum(const at::Tensor &gradient, Tally &tally) const;
};

}    // namespace cgpot
