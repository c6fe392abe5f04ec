// SPDX-License-Identifier: GPL-2.0-or-later
// Rows of features between the ranks that own beads and those that hold them as ghosts, without
// detours: each rank asks the owners for what it needs once, and gets it in one message each time.
#pragma once

#include "exchange.h"

#include <cstddef>
#include <functional>
#include <vector>

namespace cgpot {

// The node of another rank that a ghost stands for.
struct Home {
  int rank = -1;    // -1: nothing is wanted
  int node = -1;    // its number there
};

class DirectExchanger : public Exchanger {
 public:
  // How ranks reach each other; all of them call these together.
  struct Transport {
    // (ranks) numbers to each, and those from each
    std::function<void(const int *to, int *from)> numbers;
    // bytes to each and from each, one after the other
    std::function<void(const char *send, const std::vector<std::size_t> &to, char *receive,
                       const std::vector<std::size_t> &from)>
        bytes;
  };

  DirectExchanger(int ranks, Transport transport);

  // homes: of the nodes from `owned` on. To be called by all ranks where nodes of one have changed.
  void begin(const std::vector<Home> &homes, int owned);

  void forward(double *rows, std::int64_t nodes, int width) override;
  void forward(float *rows, std::int64_t nodes, int width) override;
  void reverse(double *rows, std::int64_t nodes, int width) override;
  void reverse(float *rows, std::int64_t nodes, int width) override;

  std::size_t bytes() const;

 private:
  template <typename T> void give(T *rows, int width);
  template <typename T> void take_back(T *rows, std::int64_t nodes, int width);
  void move(std::size_t row, const std::vector<int> &to, const std::vector<int> &from);

  int ranks_;
  Transport transport_;
  int owned_ = 0;
  std::vector<int> ghosts_, given_;                    // nodes, by the rank that they come from, go to
  std::vector<int> ghosts_of_, given_to_;              // (ranks) how many
  std::vector<char> send_, receive_;
  std::vector<std::size_t> to_, from_;                 // (ranks) bytes
};

}    // namespace cgpot
