// SPDX-License-Identifier: GPL-2.0-or-later
#include "framefile.h"

#include "member.h"

#include <algorithm>
#include <cstdio>
#include <numeric>
#include <stdexcept>

namespace cgpot {

namespace {

std::string text(const char *format, double value)
{
  char out[48];
  std::snprintf(out, sizeof out, format, value);
  return out;
}

}    // namespace

void append_configuration(const std::string &path, const Configuration &c)
{
  const std::size_t n = c.ids.size();
  std::vector<std::size_t> order(n);
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(),
            [&](std::size_t a, std::size_t b) { return c.ids[a] < c.ids[b]; });

  std::string out = std::to_string(n) + "\nLattice=\"";
  for (int k = 0; k < 9; ++k) out += (k ? " " : "") + text("%.15g", c.cell[k]);
  out += "\" Properties=species:S:1:pos:R:3:atom_types:I:1:molecule_ids:I:1:bead_names:S:1:"
         "force_spread:R:1";
  std::string masses;
  for (const double m : c.type_masses) masses += (masses.empty() ? "" : " ") + text("%.6g", m);
  out += " bead_type_names=\"" + joined(c.type_names) + "\" bead_type_masses=\"" + masses +
      "\" time=" + text("%.9g", c.time) + " source_frame=" + std::to_string(c.step) +
      " force_spread_max=" + text("%.9g", c.largest) +
      " force_spread_rms=" + text("%.9g", c.rms) + " pbc=\"";
  for (int k = 0; k < 3; ++k) out += std::string(k ? " " : "") + (c.periodic[k] ? "T" : "F");
  out += "\"\n";
  for (const std::size_t i : order) {
    out += "X";
    for (std::size_t k = 0; k < 3; ++k) out += " " + text("%.6f", c.positions[3 * i + k]);
    out += " " + std::to_string(c.types[i]) + " " + std::to_string(c.molecules[i]) + " " +
        c.type_names[static_cast<std::size_t>(c.types[i])] + " " + text("%.6g", c.spreads[i]) + "\n";
  }

  std::FILE *file = std::fopen(path.c_str(), "a");
  if (!file) throw std::runtime_error("file " + path + " cannot be opened for writing");
  const bool written = std::fwrite(out.data(), 1, out.size(), file) == out.size();
  if (std::fclose(file) != 0 || !written)
    throw std::runtime_error("file " + path + " cannot be written: is the disk full?");
}

}    // namespace cgpot
