// SPDX-License-Identifier: GPL-2.0-or-later
// The keywords of `pair_style cgpot`.
#pragma once

#include <string>
#include <vector>

namespace cgpot {

struct Options {
  int spread = 0;            // evaluate all members every this many steps; 0: never
  int use = 0;               // forces from this member (from 1); 0: from the mean of all
  double threshold = 0.0;    // of the largest force spread of a bead, LAMMPS units; 0: none
  bool stop = false, warn = false;
  std::string ghosts = "auto";    // auto, exchange or halo
  std::string graph = "auto";     // auto, host or device: where edges are found
  std::string dump;          // file that takes the configurations above the threshold

  bool ensemble() const { return spread > 0 || use > 0; }
};

// Throws std::runtime_error naming the keyword, what was found and what was expected.
Options parse_options(const std::vector<std::string> &words);

}    // namespace cgpot
