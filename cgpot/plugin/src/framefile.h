// SPDX-License-Identifier: GPL-2.0-or-later
// A configuration as extended XYZ, in the columns and keys of cgpot's data sets.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace cgpot {

struct Configuration {
  double cell[9] = {};                     // box vectors as rows, angstrom
  bool periodic[3] = {true, true, true};
  std::vector<std::string> type_names;
  std::vector<double> type_masses;         // amu
  std::vector<std::int64_t> ids;           // (beads) atom id
  std::vector<int> types;                  // (beads) index of type_names
  std::vector<std::int64_t> molecules;     // (beads) from 0
  std::vector<double> positions;           // (beads, 3) angstrom, relative to the cell's origin
  std::vector<double> spreads;             // (beads) eV/angstrom
  double time = 0.0;                       // ps
  std::int64_t step = 0;
  double largest = 0.0, rms = 0.0;         // eV/angstrom
};

// Appends a configuration, beads in the order of their ids.
// Throws std::runtime_error when the file cannot be written.
void append_configuration(const std::string &path, const Configuration &configuration);

}    // namespace cgpot
