// SPDX-License-Identifier: GPL-2.0-or-later
// One model of a potential: its files, checked against each other and against this machine.
#pragma once

#include "graph.h"
#include "model.h"
#include "ranks.h"
#include "sidecar.h"

#include <memory>
#include <string>
#include <vector>

namespace cgpot {

std::string joined(const std::vector<std::string> &words);

// A number for a message, at most eight digits.
std::string number(double value);

// Whether a word of pair_coeff names a compiled model.
bool names_model(const std::string &word);

struct Member {
  std::string path;
  Sidecar sidecar;
  std::unique_ptr<Model> model;
  std::string device_text;    // "cpu, 1 thread(s)" or "cuda:0"
  int device_index = -1;      // which CUDA device; -1 for the CPU
  int count = 1;              // models in it, that are evaluated together
  int reach = 1;              // steps over which the model passes messages
  int exchange_width = 0;     // widest row of features that it exchanges; 0: it has none
  EdgeForm form;              // what it reads of edges
};

// Opens `path` and its sidecar, on the GPU for `place` if it needs one. Throws std::runtime_error
// with what was found and what to do.
Member open_member(const std::string &path, const Place &place);

// Refuses what cannot be averaged with the first member: other bead names, units or device.
// Throws std::runtime_error naming both files.
void check_member(const Member &first, const Member &other);

}    // namespace cgpot
