// SPDX-License-Identifier: GPL-2.0-or-later
// Rows of features on several ranks: what operators of a model ask for, as communication of the
// pair style.
#pragma once

#include "exchange.h"

#include <cstddef>
#include <functional>
#include <vector>

namespace cgpot {

// Where a process stands in a run, to choose among the GPUs of its machine.
struct Place {
  int shared = 0;      // rank among the processes of its world on this machine
  int worlds = 1;      // partitions of the run
  int universe = 0;    // rank among all processes
};

// The device of `devices` that a process takes. Partitions do not know of each other's machines:
// there what the launcher says counts, else the rank among all processes.
int device_of(const Place &place, int devices);

class RankExchanger : public Exchanger {
 public:
  // forward and reverse start LAMMPS's communication with so many doubles for each atom; capacity:
  // the most doubles for an atom that its buffers hold.
  RankExchanger(std::function<void(int)> forward, std::function<void(int)> reverse, int capacity);

  // node_of: node of each owned or ghost atom, -1 for none; atoms: (nodes) the atom that stands for
  // each; both kept by reference during the evaluation. Several atoms may share a node: what comes
  // for one of them is there for all, and only the one that stands for it, the first of them, sends
  // gradients home.
  void begin(const std::vector<int> &node_of, const std::vector<int> &atoms, int owned);

  void forward(double *rows, std::int64_t nodes, int width) override;
  void forward(float *rows, std::int64_t nodes, int width) override;
  void reverse(double *rows, std::int64_t nodes, int width) override;
  void reverse(float *rows, std::int64_t nodes, int width) override;

  // For LAMMPS: a part of the rows of atoms to a buffer and back.
  int pack_forward(int n, const int *list, double *buffer) const;
  void unpack_forward(int n, int first, const double *buffer);
  int pack_reverse(int n, int first, double *buffer) const;
  void unpack_reverse(int n, const int *list, const double *buffer);

 private:
  template <typename T> void run(T *rows, std::int64_t nodes, int width, bool reverse);
  template <typename T> T *row(int atom) const;
  // number of doubles for a part of `columns_` columns
  int doubles() const;

  std::function<void(int)> forward_, reverse_;
  int capacity_;
  const std::vector<int> *node_of_ = nullptr;
  const std::vector<int> *atoms_ = nullptr;
  int owned_ = 0;
  void *rows_ = nullptr;    // of the call that runs
  std::size_t item_ = 0;    // bytes of a number
  int width_ = 0, first_ = 0, columns_ = 0;
};

}    // namespace cgpot
