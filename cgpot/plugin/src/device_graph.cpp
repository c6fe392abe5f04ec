// SPDX-License-Identifier: GPL-2.0-or-later
#include "device_graph.h"

#include "exclusions.h"
#include "graph.h"
#include "tensors.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/clamp.h>
#include <ATen/ops/cumsum.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/full.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/nonzero.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/repeat_interleave.h>
#include <ATen/ops/searchsorted.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <c10/core/DeviceGuard.h>
#include <c10/core/InferenceMode.h>

namespace cgpot {

namespace {

constexpr double most_cells_per_point = 4.0;
constexpr double pairs_at_a_time = 1 << 24;    // looked at; bounds the memory that a list takes

at::Tensor upload(const void *data, at::IntArrayRef shape, at::ScalarType type, c10::Device device)
{
  const auto options = at::TensorOptions().dtype(type);
  return at::from_blob(const_cast<void *>(data), shape, options).to(device);
}

// Points sorted into cells half as wide as the range, or wider where that would be too many. The
// points of neighbouring cells along x follow each other.
struct SortedPoints {
  at::Tensor points;    // (points) int64, in the order of their cells
  at::Tensor first;     // (cells + 1) int64, first point of each cell
  std::int64_t cells[3] = {1, 1, 1}, span[3] = {1, 1, 1};
  double low[3] = {}, inverse[3] = {};

  SortedPoints(const at::Tensor &x, const at::Tensor &taken, double range)
  {
    const at::Tensor at_points = x.index_select(0, taken);
    const std::int64_t count = taken.size(0);
    double high[3] = {};
    if (count > 0) {
      const at::Tensor lowest = std::get<0>(at_points.min(0)).cpu(),
                       highest = std::get<0>(at_points.max(0)).cpu();
      std::copy_n(lowest.const_data_ptr<double>(), 3, low);
      std::copy_n(highest.const_data_ptr<double>(), 3, high);
    }
    for (int k = 0; k < 3; ++k)
      if (!std::isfinite(high[k] - low[k])) low[k] = high[k] = 0.0;    // found with the energy
    const double most = std::max(27.0, most_cells_per_point * static_cast<double>(count));
    double wanted[3], all = 1.0;
    for (int k = 0; k < 3; ++k) {
      wanted[k] = std::clamp(std::floor(2.0 * (high[k] - low[k]) / range), 1.0, most);
      all *= wanted[k];
    }
    const double fewer = all > most ? std::cbrt(most / all) : 1.0;
    for (int k = 0; k < 3; ++k) {
      cells[k] = std::max<std::int64_t>(1, static_cast<std::int64_t>(wanted[k] * fewer));
      const double side = (high[k] - low[k]) / static_cast<double>(cells[k]);
      inverse[k] = side > 0.0 ? 1.0 / side : 0.0;
      span[k] = side > 0.0
          ? std::min(cells[k], 1 + static_cast<std::int64_t>(std::min(range / side, 1e9)))
          : 1;
    }
    const auto c = coordinates(at_points);
    const at::Tensor cell = (c[2] * cells[1] + c[1]) * cells[0] + c[0];
    const at::Tensor order = cell.argsort(true);
    points = taken.index_select(0, order);
    first = at::searchsorted(cell.index_select(0, order),
                             at::arange(cells[0] * cells[1] * cells[2] + 1, cell.options()));
  }

  // Cells of positions (n, 3), int64 along each direction.
  std::vector<at::Tensor> coordinates(const at::Tensor &x) const
  {
    std::vector<at::Tensor> out;
    for (int k = 0; k < 3; ++k)
      out.push_back(((x.select(1, k) - low[k]) * inverse[k])
                        .nan_to_num(0.0)
                        .clamp(0.0, static_cast<double>(cells[k] - 1))
                        .to(at::kLong));
    return out;
  }
};

// Pairs of centres and points closer than the range, in the order of the centres.
struct Pairs {
  at::Tensor center, atom;    // (pairs) int64: number of the centre, atom
};

Pairs near_pairs(const SortedPoints &sorted, const at::Tensor &x, const at::Tensor &centers,
                 std::int64_t begin, std::int64_t end, double range)
{
  const at::Tensor atoms = centers.narrow(0, begin, end - begin);
  const at::Tensor own = x.index_select(0, atoms);
  const auto c = sorted.coordinates(own);
  const auto options = atoms.options();
  // rows of cells along x, for each centre
  const at::Tensor dy = at::arange(-sorted.span[1], sorted.span[1] + 1, options),
                   dz = at::arange(-sorted.span[2], sorted.span[2] + 1, options);
  const at::Tensor y = (c[1].view({-1, 1, 1}) + dy.view({1, 1, -1})).expand({-1, dz.size(0), -1});
  const at::Tensor z = (c[2].view({-1, 1, 1}) + dz.view({1, -1, 1})).expand_as(y);
  const at::Tensor inside = y.ge(0) & y.lt(sorted.cells[1]) & z.ge(0) & z.lt(sorted.cells[2]);
  const at::Tensor row = at::where(inside, (z * sorted.cells[1] + y) * sorted.cells[0], 0);
  const at::Tensor from = (c[0] - sorted.span[0]).clamp_min(0).view({-1, 1, 1}),
                   to = (c[0] + sorted.span[0]).clamp_max(sorted.cells[0] - 1).view({-1, 1, 1});
  const at::Tensor low = sorted.first.index_select(0, (row + from).flatten());
  const at::Tensor high = sorted.first.index_select(0, (row + to + 1).flatten());
  const at::Tensor count = (high - low) * inside.flatten();
  // all points of these rows
  const std::int64_t rows = dy.size(0) * dz.size(0);
  const at::Tensor of_row = at::repeat_interleave(count);
  const at::Tensor before = count.cumsum(0) - count;
  const at::Tensor place = at::arange(of_row.size(0), options) - before.index_select(0, of_row) +
      low.index_select(0, of_row);
  const at::Tensor atom = sorted.points.index_select(0, place);
  const at::Tensor center = of_row.div(rows, "floor");
  const at::Tensor d = x.index_select(0, atom) - own.index_select(0, center);
  const at::Tensor keep = d.square().sum(1).lt(range * range) &
      atom.ne(atoms.index_select(0, center));
  const at::Tensor kept = keep.nonzero().view(-1);
  return {center.index_select(0, kept) + begin, atom.index_select(0, kept)};
}

// What is excluded, on the device.
struct Hidden {
  bool bonded;
  std::int64_t span;
  at::Tensor keys;       // (atoms) int64
  at::Tensor codes;      // (excluded pairs of keys) int64, in order
  at::Tensor inverse;    // (3, 3) fractions are d @ inverse
  at::Tensor margin;     // (3)
  at::Tensor periodic;   // (3) of 0 and 1

  // Which pairs of atoms (pairs) are excluded, in whatever image.
  at::Tensor excludes(const at::Tensor &a, const at::Tensor &b) const
  {
    const at::Tensor key = keys.index_select(0, a), other = keys.index_select(0, b);
    if (!bonded) return key.eq(other);
    if (codes.size(0) == 0) return at::zeros_like(key, at::kBool);
    const at::Tensor code = key * span + other;
    const at::Tensor found = at::searchsorted(codes, code).clamp_max(codes.size(0) - 1);
    return codes.index_select(0, found).eq(code) & key.ge(0) & other.ge(0);
  }

  // The pairs without those that are excluded in their nearest image, as Exclusions says it.
  Pairs leave_out(const Pairs &pairs, const at::Tensor &x, const at::Tensor &centers,
                  bool &doubtful) const
  {
    const at::Tensor atom = centers.index_select(0, pairs.center);
    const at::Tensor some = excludes(atom, pairs.atom).nonzero().view(-1);
    if (some.size(0) == 0) return pairs;
    const at::Tensor d = x.index_select(0, pairs.atom.index_select(0, some)) -
        x.index_select(0, atom.index_select(0, some));
    // not with mm(): it may round more than fractions at half the cell bear
    const at::Tensor beyond =
        ((d.unsqueeze(2) * inverse).sum(1).abs() - Exclusions::half) * periodic - (1.0 - periodic);
    const at::Tensor sure = beyond.gt(margin).any(1) | beyond.le(-margin * periodic).all(1);
    doubtful = doubtful || !sure.all().item<bool>();
    const at::Tensor gone = beyond.le(0.0).all(1);
    const at::Tensor kept = at::ones_like(pairs.atom, at::kBool)
                                .index_put_({some}, gone.logical_not())
                                .nonzero()
                                .view(-1);
    return {pairs.center.index_select(0, kept), pairs.atom.index_select(0, kept)};
  }
};

}    // namespace

DeviceGraph::DeviceGraph(double cutoff, double length_scale, const std::string &device,
                         int device_index, bool single) :
    torch_(std::make_unique<Torch>())
{
  torch_->cutoff = cutoff;
  torch_->scale = length_scale;
  torch_->type = single ? at::kFloat : at::kDouble;
  if (device == "cuda")
    torch_->device = c10::Device(at::kCUDA, static_cast<c10::DeviceIndex>(device_index));
}

DeviceGraph::~DeviceGraph() = default;

std::int64_t DeviceGraph::edges() const
{
  return torch_->edges;
}

std::int64_t DeviceGraph::candidates() const
{
  return torch_->near_center.defined() ? torch_->near_center.size(0) : 0;
}

double DeviceGraph::bytes() const
{
  double sum = 0.0;
  for (const at::Tensor *t : {&torch_->centers, &torch_->near_center, &torch_->near_atom,
                              &torch_->near_node, &torch_->types, &torch_->index, &torch_->vectors,
                              &torch_->codes})
    if (t->defined()) sum += static_cast<double>(t->nbytes());
  return sum;
}

namespace {

// Codes follow from bonds: they stay until there are others.
Hidden upload_hidden(const Exclusions &hidden, DeviceGraph::Torch &t)
{
  const auto count = [](const auto &values) { return static_cast<std::int64_t>(values.size()); };
  if (hidden.bonded() && t.codes_version != hidden.version()) {
    const std::vector<std::int64_t> codes = hidden.codes();
    t.codes = upload(codes.data(), {count(codes)}, at::kLong, t.device).clone();
    t.codes_version = hidden.version();
  }
  double periodic[3];
  for (std::size_t k = 0; k < 3; ++k) periodic[k] = hidden.periodic()[k] ? 1.0 : 0.0;
  return {hidden.bonded(),
          hidden.span(),
          upload(hidden.keys().data(), {count(hidden.keys())}, at::kLong, t.device),
          t.codes,
          upload(hidden.inverse().data(), {3, 3}, at::kDouble, t.device),
          upload(hidden.margin().data(), {3}, at::kDouble, t.device),
          upload(periodic, {3}, at::kDouble, t.device).clone()};
}

}    // namespace

bool DeviceGraph::stale() const
{
  return torch_->doubtful;
}

void DeviceGraph::build(const double *x, int nall, const Graph &nodes,
                        const std::vector<int> &node_of, double range, bool fresh,
                        const Exclusions *hidden)
{
  Torch &t = *torch_;
  with_reason("torch cannot find the neighbors", [&] {
    const c10::InferenceMode inference;
    const c10::DeviceGuard guard(t.device);
    // edges of one list are of one set of nodes: what fails leaves none
    if (fresh) t.near_center = at::Tensor();
    const at::Tensor at_x = upload(x, {nall, 3}, at::kDouble, t.device);
    t.nodes = nodes.nodes;
    t.owned = nodes.owned;
    const auto find = [&] {
      const at::Tensor node = upload(node_of.data(), {nall}, at::kInt, t.device);
      const at::Tensor atoms =
          upload(nodes.atoms.data(), {nodes.nodes}, at::kInt, t.device).to(at::kLong);
      t.centers = atoms.narrow(0, 0, t.owned).clone();
      t.near_center = t.near_atom = t.near_node = at::empty({0}, node.options());
      t.doubtful = false;
      const at::Tensor taken = node.ge(0).nonzero().view(-1);
      if (t.owned == 0) return;
      const SortedPoints sorted(at_x, taken, range);
      const double scanned = static_cast<double>(taken.size(0)) *
          static_cast<double>((2 * sorted.span[0] + 1) * (2 * sorted.span[1] + 1) *
                              (2 * sorted.span[2] + 1)) /
          static_cast<double>(sorted.cells[0] * sorted.cells[1] * sorted.cells[2]);
      const auto chunk = static_cast<std::int64_t>(
          std::max(64.0, pairs_at_a_time / std::max(1.0, scanned)));
      std::optional<Hidden> left;
      if (hidden) left = upload_hidden(*hidden, t);
      std::vector<at::Tensor> center, atom;
      for (std::int64_t begin = 0; begin < t.owned; begin += chunk) {
        Pairs pairs =
            near_pairs(sorted, at_x, t.centers, begin, std::min(begin + chunk, t.owned), range);
        if (left) pairs = left->leave_out(pairs, at_x, t.centers, t.doubtful);
        center.push_back(pairs.center.to(at::kInt));
        atom.push_back(pairs.atom.to(at::kInt));
      }
      t.near_center = at::cat(center);
      t.near_atom = at::cat(atom);
      t.near_node = node.index_select(0, t.near_atom);
    };
    if (fresh || !t.near_center.defined()) find();
    const at::Tensor d =
        (at_x.index_select(0, t.near_atom) -
         at_x.index_select(0, t.centers).index_select(0, t.near_center)) * t.scale;
    const at::Tensor kept = d.square().sum(1).lt(t.cutoff * t.cutoff).nonzero().view(-1);
    t.edges = kept.size(0);
    t.vectors = d.index_select(0, kept).to(t.type);
    t.index = at::stack({t.near_center.index_select(0, kept).to(at::kLong),
                         t.near_node.index_select(0, kept).to(at::kLong)});
    // two beads further apart than the cutoff where a graph is too small, as GraphBuilder does it
    const bool padded = t.edges < 2 || t.owned < 2;
    std::vector<std::int64_t> types(nodes.types.begin(), nodes.types.begin() + nodes.nodes);
    if (padded) {
      types.insert(types.end(), 2, types.empty() ? 0 : types[0]);
      const std::int64_t a = t.nodes, b = t.nodes + 1;
      const double far = 2.0 * t.cutoff;
      const std::int64_t ends[4] = {a, b, b, a};
      const double added[6] = {far, 0.0, 0.0, -far, 0.0, 0.0};
      t.index = at::cat({t.index, upload(ends, {2, 2}, at::kLong, t.device)}, 1);
      t.vectors = at::cat({t.vectors, upload(added, {2, 3}, at::kDouble, t.device).to(t.type)});
    }
    t.computed = padded || !nodes.only_owned ? static_cast<std::int64_t>(types.size()) : t.owned;
    if (types != t.host_types || !t.types.defined()) {
      t.host_types = std::move(types);
      t.types = upload(t.host_types.data(), {static_cast<std::int64_t>(t.host_types.size())},
                       at::kLong, t.device).clone();
    }
  });
}

DeviceGraph::Edge DeviceGraph::shortest() const
{
  const Torch &t = *torch_;
  if (t.edges == 0) return {};
  const c10::InferenceMode inference;
  const at::Tensor squares = t.vectors.narrow(0, 0, t.edges).to(at::kDouble).square().sum(1);
  const std::int64_t at = squares.argmin().item<std::int64_t>();
  return {t.index[0][at].item<std::int64_t>(), t.index[1][at].item<std::int64_t>(),
          std::sqrt(squares[at].item<double>())};
}

void DeviceGraph::Torch::sum(const at::Tensor &gradient, Tally &tally) const
{
  const at::Tensor g = gradient.narrow(0, 0, edges).to(at::kDouble),
                   r = vectors.narrow(0, 0, edges).to(at::kDouble), i = index[0].narrow(0, 0, edges),
                   j = index[1].narrow(0, 0, edges);
  const auto down = [&](const at::Tensor &values, std::vector<double> &to) {
    const at::Tensor here = values.cpu().contiguous();
    const double *from = here.const_data_ptr<double>();
    to.assign(from, from + here.numel());
  };
  const auto rows = [&](std::int64_t width) { return at::zeros({nodes, width}, g.options()); };
  down(rows(3).index_add_(0, i, g).index_add_(0, j, g, -1.0), tally.forces);
  tally.virials.clear();
  for (double &w : tally.virial) w = 0.0;
  if (!tally.total_virial && !tally.atom_virial) return;
  std::vector<double> w;
  down(at::mm(r.t(), g), w);
  for (int k = 0; k < 3; ++k) tally.virial[k] = -w[static_cast<std::size_t>(4 * k)];
  tally.virial[3] = -0.5 * (w[1] + w[3]);
  tally.virial[4] = -0.5 * (w[2] + w[6]);
  tally.virial[5] = -0.5 * (w[5] + w[7]);
  if (!tally.atom_virial) return;
  constexpr int first[9] = {0, 1, 2, 0, 0, 1, 1, 2, 2}, second[9] = {0, 1, 2, 1, 2, 2, 0, 0, 1};
  std::vector<at::Tensor> parts;
  for (int k = 0; k < 9; ++k) parts.push_back(r.select(1, first[k]) * g.select(1, second[k]));
  const at::Tensor halves = at::stack(parts, 1) * -0.5;
  down(rows(9).index_add_(0, i, halves).index_add_(0, j, halves), tally.virials);
}

}    // namespace cgpot
