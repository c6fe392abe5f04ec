// SPDX-License-Identifier: GPL-2.0-or-later
#include "member.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <stdexcept>

namespace cgpot {

namespace {

constexpr const char *model_inputs = "pos edge_index atom_types edge_vectors num_local_ghost_atoms";
constexpr const char *model_outputs = "atomic_energy edge_forces";
constexpr const char *operators_version = "3";    // cgpot/deploy/operators.py

// As LAMMPS itself counts: OMP_NUM_THREADS, one thread when it is not set.
int thread_count()
{
  const char *value = std::getenv("OMP_NUM_THREADS");
  const int threads = value ? std::atoi(value) : 1;
  return threads > 0 ? threads : 1;
}

void check_torch(const std::string &compiled)
{
  const std::string running = Model::torch_version();
  if (compiled != running)
    throw std::runtime_error("compiled with torch " + compiled + ", but this plugin runs with "
                             "torch " + running + ": compile it here with `cgpot deploy`");
}

void check_hash(const std::string &path, const Sidecar &sidecar)
{
  if (sidecar.sha256.empty()) return;
  const std::string found = file_sha256(path);
  if (found != sidecar.sha256)
    throw std::runtime_error("its SHA-256 is " + found.substr(0, 12) + "..., but " + sidecar.path +
                             " was written for " + sidecar.sha256.substr(0, 12) +
                             "...: the two files do not belong together");
}

std::map<std::string, std::string> check_archive(const std::string &path, const Sidecar &sidecar)
{
  auto strings = Model::metadata(path);
  if (strings.count("torch_version")) check_torch(strings["torch_version"]);
  if (strings["nequip_aoti_inputs"] != model_inputs ||
      strings["nequip_aoti_outputs"] != model_outputs)
    throw std::runtime_error("compiled for another program: it takes '" +
                             strings["nequip_aoti_inputs"] + "' and gives '" +
                             strings["nequip_aoti_outputs"] + "', expected '" + model_inputs +
                             "' and '" + model_outputs + "': compile it with `cgpot deploy`");
  if (strings["type_names"] != joined(sidecar.bead_names))
    throw std::runtime_error("its bead names are '" + strings["type_names"] + "', but " +
                             sidecar.path + " says '" + joined(sidecar.bead_names) + "'");
  const double r_max = std::atof(strings["r_max"].c_str());
  if (std::fabs(r_max - sidecar.cutoff) > 1e-6 * sidecar.cutoff)
    throw std::runtime_error("its cutoff is " + number(r_max) + ", but " + sidecar.path + " says " +
                             number(sidecar.cutoff));
  const std::string compiled_for = strings["AOTI_DEVICE_KEY"];
  if (!compiled_for.empty() && compiled_for != sidecar.device)
    throw std::runtime_error("compiled for the device '" + compiled_for + "', but " + sidecar.path +
                             " says '" + sidecar.device + "'");
  if (sidecar.device == "cpu") {
    const std::string missing = Model::missing_instructions(strings["AOTI_CPU_ISA"]);
    if (!missing.empty())
      throw std::runtime_error("compiled for a processor with " + missing + ", which this one "
                               "does not have: compile it here with `cgpot deploy`");
  }
  return strings;
}

}    // namespace

std::string joined(const std::vector<std::string> &words)
{
  std::string out;
  for (const auto &word : words) out += (out.empty() ? "" : " ") + word;
  return out;
}

std::string number(double value)
{
  char text[32];
  std::snprintf(text, sizeof text, "%.8g", value);
  return text;
}

bool names_model(const std::string &word)
{
  const std::string extension = model_extension;
  return word.size() > extension.size() &&
      word.compare(word.size() - extension.size(), extension.size(), extension) == 0;
}

Member open_member(const std::string &path, const Place &place)
{
  if (!names_model(path))
    throw std::runtime_error("model file " + path + " does not end in " + model_extension +
                             ": compile the model with `cgpot deploy`");
  if (!std::ifstream(path)) throw std::runtime_error("model file " + path + " cannot be opened");
  try {
    Member member;
    member.path = path;
    member.sidecar = read_sidecar(path);
    check_torch(member.sidecar.torch_version);
    check_hash(path, member.sidecar);
    auto strings = check_archive(path, member.sidecar);
    member.count = std::max(1, std::atoi(strings["cgpot_members"].c_str()));
    member.reach = std::max(1, std::atoi(strings["cgpot_layers"].c_str()));
    member.exchange_width = std::max(0, std::atoi(strings["cgpot_exchange_width"].c_str()));
    const bool owned_rows = strings["cgpot_operators"] == operators_version;
    if (!strings["cgpot_layers"].empty() && !owned_rows)
      throw std::runtime_error("compiled by another version of cgpot: compile it again with `cgpot "
                               "deploy`");
    member.form.single = strings["cgpot_vectors"] == "float32";
    member.form.centers = strings["cgpot_centers"] != "unread";
    member.device_text = "cpu, " + std::to_string(thread_count()) + " thread(s)";
    if (member.sidecar.device == "cuda") {
      const int count = Model::cuda_devices();
      if (count < 1)
        throw std::runtime_error("compiled for CUDA, but torch sees no CUDA device here: compile it "
                                 "with `cgpot deploy --device cpu`, or run where there is a GPU");
      member.device_index = device_of(place, count);
      member.device_text = "cuda:" + std::to_string(member.device_index);
    }
    member.model =
        std::make_unique<Model>(path, member.sidecar.device, member.device_index, thread_count(),
                                owned_rows, member.form.single, member.count);
    return member;
  } catch (const std::exception &e) {
    throw std::runtime_error("model file " + path + ": " + e.what());
  }
}

void check_member(const Member &first, const Member &other)
{
  const auto differ = [&](const char *what, const std::string &a, const std::string &b) {
    if (a != b)
      throw std::runtime_error("the models of an ensemble must have the same " + std::string(what) +
                               ": " + first.path + " has '" + a + "', " + other.path + " has '" + b +
                               "'");
  };
  if (first.path == other.path)
    throw std::runtime_error("model file " + first.path + " stands twice in the ensemble");
  differ("bead names", joined(first.sidecar.bead_names), joined(other.sidecar.bead_names));
  differ("energy unit", first.sidecar.energy_unit, other.sidecar.energy_unit);
  differ("length unit", first.sidecar.length_unit, other.sidecar.length_unit);
  differ("pairs", first.sidecar.pairs.word(), other.sidecar.pairs.word());
  differ("device", first.sidecar.device, other.sidecar.device);
  for (std::size_t k = 0; k < first.sidecar.masses.size(); ++k)
    if (std::fabs(first.sidecar.masses[k] - other.sidecar.masses[k]) >
        1e-3 * first.sidecar.masses[k])
      differ(("mass of bead " + first.sidecar.bead_names[k]).c_str(),
             number(first.sidecar.masses[k]), number(other.sidecar.masses[k]));
}

}    // namespace cgpot
