// SPDX-License-Identifier: GPL-2.0-or-later
// A graph whose edges are found where the model runs: positions go up, forces and energies come
// down. The list of near pairs is made from cells, with torch's operations, on any device.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace cgpot {

class Exclusions;
struct Graph;
struct Tally;

class DeviceGraph {
 public:
  // cutoff: in the model's length unit; length_scale: model's unit per unit of `x`; device: "cpu",
  // or "cuda" and which; single: vectors in single precision.
  DeviceGraph(double cutoff, double length_scale, const std::string &device, int device_index,
              bool single);
  ~DeviceGraph();
  DeviceGraph(const DeviceGraph &) = delete;
  DeviceGraph &operator=(const DeviceGraph &) = delete;

  // nodes: of GraphBuilder::place(); x: (nall, 3) positions; node_of: (nall) node of each atom, -1
  // for none; range: cutoff and skin in the unit of `x`; fresh: whether atoms or nodes are others
  // than at the call before, if not `node_of` and `range` are not looked at. A graph with fewer than
  // two owned nodes or edges is padded as GraphBuilder does it. hidden: pairs that are left out, or
  // null.
  // Throws std::runtime_error with torch's reason.
  void build(const double *x, int nall, const Graph &nodes, const std::vector<int> &node_of,
             double range, bool fresh, const Exclusions *hidden = nullptr);
  // Whether the next call of build() must be a fresh one: a pair may become excluded or cease to be.
  bool stale() const;

  std::int64_t edges() const;         // without padding
  std::int64_t candidates() const;    // pairs of the list
  double bytes() const;               // of what is held on the device

  // The first of the shortest edges; length in the model's unit.
  struct Edge {
    std::int64_t center = 0, neighbor = 0;
    double length = 0.0;
  };
  Edge shortest() const;

  struct Torch;    // tensors.h
  Torch &torch() { return *torch_; }

 private:
  std::unique_ptr<Torch> torch_;
};

}    // namespace cgpot
