// SPDX-License-Identifier: GPL-2.0-or-later
// The file `model.cgpot.json` beside a `model.nequip.pt2`: what the archive itself does not say.
#pragma once

#include "exclusions.h"

#include <string>
#include <vector>

namespace cgpot {

struct Sidecar {
  std::string path;
  std::string energy_unit;               // "eV", "kcal/mol" or "kJ/mol"
  std::string length_unit;               // "angstrom" or "nm"
  std::vector<std::string> bead_names;
  std::vector<double> masses;            // amu, one for each bead name
  double cutoff = 0.0;                   // in length_unit
  SeenPairs pairs;                       // which pairs the model sees; all when not given
  std::string dtype;                     // "float32" or "float64"
  std::string device;                    // "cpu" or "cuda"
  std::string torch_version;             // without a local part
  std::string sha256;                    // of the archive; empty when not given

  double energy_in_ev() const;           // one energy unit in eV
  double length_in_angstrom() const;     // one length unit in angstrom
};

extern const char *const model_extension;    // ".nequip.pt2"

// Path of the sidecar of a model; the model's name must end with model_extension.
std::string sidecar_path(const std::string &model_path);

// Throws std::runtime_error naming the file, the key, what was found and what was expected.
Sidecar read_sidecar(const std::string &model_path);

// SHA-256 of a file in lower-case hexadecimal; throws std::runtime_error when it cannot be read.
std::string file_sha256(const std::string &path);

}    // namespace cgpot
