// SPDX-License-Identifier: GPL-2.0-or-later
// How far the members of an ensemble of models disagree. No LAMMPS and no torch types here.
#pragma once

#include <cstddef>
#include <functional>
#include <vector>

namespace cgpot {

// Sample standard deviations (divided by members - 1) over the members, in the units given:
//   bead i:   s_i = sqrt( sum_m |f_m,i - mean f_i|^2 / (k - 1) )
//   energy:   of E_m / beads
//   virial:   of tr W_m
// Each rank has the beads that it owns; what concerns all beads is summed over ranks.
class Spread {
 public:
  // Adds up numbers over ranks, in place.
  using Sum = std::function<void(double *, int)>;

  // nodes: beads of this rank; every member is then added once.
  void begin(int nodes);

  // forces: (nodes) whole forces of this rank's beads, `stride` doubles from bead to bead; energy
  // and trace of the virial tensor: this rank's part.
  void add(const double *forces, std::size_t stride, double energy, double trace);

  // All ranks together.
  void finish(const Sum &sum);

  std::vector<double> beads;    // (nodes) s_i
  double largest = 0.0;         // of the s_i of this rank, a NaN is the largest; -1 without beads
  int largest_node = -1;
  double rms = 0.0;             // root mean square of the s_i of all ranks
  double energy = 0.0;          // per bead
  double trace = 0.0;           // of the virial's trace

  std::size_t bytes() const;

 private:
  std::size_t nodes_ = 0;
  std::vector<double> forces_;    // (members, nodes, 3)
  std::vector<double> energies_, traces_;
};

}    // namespace cgpot
