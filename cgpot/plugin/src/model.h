// SPDX-License-Identifier: GPL-2.0-or-later
// A compiled model. None of torch's types are seen from here.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace cgpot {

class DeviceGraph;
class Exchanger;
struct Graph;
struct Tally;

class Model {
 public:
  // Version of the torch library that this plugin runs with, without a local part ("2.13.0").
  static std::string torch_version();

  // Number of CUDA devices that torch sees; 0 without CUDA.
  static int cuda_devices();

  // Strings stored in a `.nequip.pt2`, read without loading its code.
  // Throws std::runtime_error when the file is not such an archive.
  static std::map<std::string, std::string> metadata(const std::string &path);

  // From a model's list of instruction sets ("AVX512 AVX512_VNNI") the first that this processor
  // does not have; empty when it has all (or they are not known by name).
  static std::string missing_instructions(const std::string &wanted);

  // device: "cpu" or "cuda"; device_index: which CUDA device; threads: for the CPU; owned_rows:
  // whether it computes `graph.computed` nodes and not all; single: whether it takes vectors and
  // gives gradients of edges in single precision; count: models in it.
  // Throws std::runtime_error with the reason from torch.
  Model(const std::string &path, const std::string &device, int device_index, int threads,
        bool owned_rows, bool single, int count);
  ~Model();
  Model(const Model &) = delete;
  Model &operator=(const Model &) = delete;

  // Results stay valid until the next call. Of each model of the file: energies (rows), of the owned
  // nodes and more; gradient (padded edges, 3) dE/d(edge vector), in double or in single precision,
  // both null where it stays on the device; the model's units.
  // Throws std::runtime_error with the reason from torch.
  struct Result {
    const double *energies;
    const double *gradient;
    const float *single_gradient;
    std::size_t rows;
  };
  // While it runs, operators of the model reach other ranks through `exchanger`, if there is one.
  Result evaluate(const Graph &graph, Exchanger *exchanger = nullptr);
  // The same with edges that are on the model's device; sums over edges go to `tallies`, (count).
  Result evaluate(DeviceGraph &graph, Exchanger *exchanger, Tally *tallies);

 private:
  struct Torch;
  std::unique_ptr<Torch> torch_;
};

}    // namespace cgpot
