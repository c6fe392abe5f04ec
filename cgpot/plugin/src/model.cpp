// SPDX-License-Identifier: GPL-2.0-or-later
#include "model.h"

#include "allocator.h"
#include "exchange.h"
#include "graph.h"
#include "tensors.h"

#include <optional>
#include <sstream>
#include <stdexcept>

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/zeros.h>
#include <c10/core/DeviceGuard.h>
#include <c10/core/InferenceMode.h>
#include <torch/csrc/inductor/aoti_package/model_package_loader.h>
#include <torch/version.h>

namespace torch::cuda {
// as declared in torch/cuda.h, which pulls in far more than is needed here
TORCH_API c10::DeviceIndex device_count();
}    // namespace torch::cuda

namespace cgpot {

using Loader = torch::inductor::AOTIModelPackageLoader;

namespace {

class Scope {
 public:
  explicit Scope(const Evaluation &evaluation) { set_evaluation(&evaluation); }
  ~Scope() { set_evaluation(nullptr); }
  Scope(const Scope &) = delete;
  Scope &operator=(const Scope &) = delete;
};

at::Tensor host(const at::Tensor &t, at::ScalarType type = at::kDouble)
{
  return t.to(at::kCPU, type).contiguous();
}

}    // namespace

struct Model::Torch {
  std::unique_ptr<Loader> loader;
  c10::Device device{at::kCPU};
  at::Tensor positions;             // zeros: models read edge vectors; longer than needed
  at::Tensor energies, gradient;    // the last result, on the CPU
  bool owned_rows = false;
  at::ScalarType edges = at::kDouble;    // of vectors and gradient
  std::int64_t count = 1;

  std::vector<at::Tensor> run(const at::Tensor &index, const at::Tensor &types,
                              const at::Tensor &vectors, std::int64_t owned_nodes,
                              std::int64_t computed);
};

std::string Model::torch_version()
{
  const std::string version = TORCH_VERSION;
  return version.substr(0, version.find('+'));
}

int Model::cuda_devices()
{
  return static_cast<int>(torch::cuda::device_count());
}

std::string Model::missing_instructions(const std::string &wanted)
{
  std::istringstream words(wanted);
  for (std::string word; words >> word;) {
#if defined(__x86_64__)
    if (word == "AVX2" && !__builtin_cpu_supports("avx2")) return word;
    if (word.compare(0, 6, "AVX512") == 0 && !__builtin_cpu_supports("avx512f")) return word;
#endif
  }
  return "";
}

std::map<std::string, std::string> Model::metadata(const std::string &path)
{
  return with_reason("cannot read the archive", [&] {
    const auto strings = Loader::load_metadata_from_package(path, "model");
    return std::map<std::string, std::string>(strings.begin(), strings.end());
  });
}

Model::Model(const std::string &path, const std::string &device, int device_index, int threads,
             bool owned_rows, bool single, int count) :
    torch_(std::make_unique<Torch>())
{
  torch_->owned_rows = owned_rows;
  torch_->edges = single ? at::kFloat : at::kDouble;
  torch_->count = count;
  const bool cuda = device == "cuda";
  if (cuda)
    torch_->device = c10::Device(at::kCUDA, static_cast<c10::DeviceIndex>(device_index));
  with_reason("torch cannot load the model", [&] {
    if (!cuda) at::set_num_threads(threads);
    const c10::DeviceGuard guard(torch_->device);
    torch_->loader = std::make_unique<Loader>(path, "model", false, 1,
                                              static_cast<c10::DeviceIndex>(cuda ? device_index : -1));
    if (cuda) {    // cuBLAS asks for this when it multiplies, not when the model is compiled
      const auto strings = torch_->loader->get_metadata();
      const auto found = strings.find("allow_tf32");
      if (found != strings.end() && found->second == "1")
        at::globalContext().setAllowTF32CuBLAS(true);
    }
  });
}

Model::~Model() = default;

// energies of the computed nodes and gradients of the edges, on the device
std::vector<at::Tensor> Model::Torch::run(const at::Tensor &index, const at::Tensor &types,
                                          const at::Tensor &vectors, std::int64_t owned_nodes,
                                          std::int64_t computed)
{
  const auto real = at::TensorOptions().dtype(at::kDouble);
  const std::int64_t rows = owned_rows ? computed : types.size(0);
  if (!positions.defined() || positions.size(0) < rows)
    positions = at::zeros({rows + rows / 8, 3}, real.device(device));
  std::int64_t owned[2] = {owned_nodes, rows - owned_nodes};
  const at::Tensor counts =
      at::from_blob(owned, {1, 2}, at::TensorOptions().dtype(at::kLong)).to(device);
  std::vector<at::Tensor> inputs{positions.narrow(0, 0, rows), index, types, vectors.to(edges),
                                 counts};
  std::vector<at::Tensor> outputs = loader->run(inputs);
  if (outputs.size() != 2 || outputs[0].numel() != count * rows ||
      outputs[1].numel() != count * vectors.numel())
    throw std::runtime_error("its outputs are not the energy of each bead and the gradient of "
                             "each edge");
  return outputs;
}

Model::Result Model::evaluate(const Graph &graph, Exchanger *exchanger)
{
  const Evaluation evaluation{exchanger, graph.index(), graph.offsets.data(),
                              static_cast<std::int64_t>(graph.padded_edges), graph.padded_nodes,
                              graph.form.centers};
  const Scope scope(evaluation);
  std::optional<KeptMemory> kept;
  if (torch_->device.is_cpu()) kept.emplace();
  return with_reason("torch cannot run the model", [&]() -> Result {
    const c10::InferenceMode inference;
    const c10::DeviceGuard guard(torch_->device);
    const auto n = static_cast<std::int64_t>(graph.padded_nodes);
    const auto e = static_cast<std::int64_t>(graph.padded_edges);
    // on the CPU none of these is a copy; the model makes its outputs anew each time
    const auto wrap = [&](const void *data, at::IntArrayRef shape, at::ScalarType type) {
      return at::from_blob(const_cast<void *>(data), shape, at::TensorOptions().dtype(type))
          .to(torch_->device);
    };
    const at::Tensor vectors = graph.form.single
        ? wrap(graph.singles.data(), {e, 3}, at::kFloat)
        : wrap(graph.vectors.data(), {e, 3}, at::kDouble);
    const auto outputs =
        torch_->run(wrap(graph.index(), {2, e}, at::kLong),
                    wrap(graph.types.data(), {n}, at::kLong), vectors, graph.owned, graph.computed);
    const bool single = torch_->edges == at::kFloat;
    torch_->energies = host(outputs[0]);
    torch_->gradient = host(outputs[1], torch_->edges);
    return {torch_->energies.const_data_ptr<double>(),
            single ? nullptr : torch_->gradient.const_data_ptr<double>(),
            single ? torch_->gradient.const_data_ptr<float>() : nullptr,
            static_cast<std::size_t>(torch_->energies.numel() / torch_->count)};
  });
}

Model::Result Model::evaluate(DeviceGraph &graph, Exchanger *exchanger, Tally *tallies)
{
  const DeviceGraph::Torch &edges = graph.torch();
  const Evaluation evaluation{exchanger};
  const Scope scope(evaluation);
  return with_reason("torch cannot run the model", [&]() -> Result {
    const c10::InferenceMode inference;
    const c10::DeviceGuard guard(torch_->device);
    const auto outputs =
        torch_->run(edges.index, edges.types, edges.vectors, edges.owned, edges.computed);
    const at::Tensor gradients = outputs[1].reshape({torch_->count, edges.vectors.size(0), 3});
    for (std::int64_t m = 0; m < torch_->count; ++m) edges.sum(gradients.select(0, m), tallies[m]);
    torch_->energies = host(outputs[0]);
    return {torch_->energies.const_data_ptr<double>(), nullptr, nullptr,
            static_cast<std::size_t>(torch_->energies.numel() / torch_->count)};
  });
}

}    // namespace cgpot
