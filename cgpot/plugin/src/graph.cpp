// SPDX-License-Identifier: GPL-2.0-or-later
#include "graph.h"

#include "edges.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <type_traits>

namespace cgpot {

namespace {
template <typename Vector> std::size_t capacity_bytes(const Vector &v)
{
  return v.capacity() * sizeof(typename Vector::value_type);
}

// Buffers are not cut, and have room for an eighth more: lists of pairs differ a little in length.
template <typename Vector> void grow(Vector &v, std::size_t length)
{
  if (v.capacity() < length) v.reserve(length + length / 8);
  if (v.size() < length) v.resize(length);
}

// The same where what they hold is written anew.
template <typename Vector> void renew(Vector &v, std::size_t length)
{
  if (v.capacity() < length) v.clear();
  grow(v, length);
}
}    // namespace

std::size_t Graph::bytes() const
{
  return capacity_bytes(atoms) + capacity_bytes(types) + capacity_bytes(offsets) +
      capacity_bytes(rows) + capacity_bytes(vectors) + capacity_bytes(singles);
}

double Graph::length(std::size_t edge) const
{
  const double a = component(edge, 0), b = component(edge, 1), c = component(edge, 2);
  return std::sqrt(a * a + b * b + c * c);
}

std::int64_t Graph::center(std::size_t edge) const
{
  const auto after =
      std::upper_bound(offsets.begin(), offsets.end(), static_cast<std::int64_t>(edge));
  return after - offsets.begin() - 1;
}

std::size_t Graph::shortest() const
{
  std::size_t found = 0;
  for (std::size_t e = 1; e < edges; ++e)
    if (length(e) < length(found)) found = e;
  return found;
}

GraphBuilder::GraphBuilder(double cutoff, double length_scale, EdgeForm form) :
    cutoff_(cutoff), scale_(length_scale)
{
  graph_.form = form;
  if (!(cutoff > 0.0) || !(length_scale > 0.0))
    throw std::invalid_argument("cutoff and length scale of a graph must be positive");
}

std::size_t GraphBuilder::bytes() const
{
  return graph_.bytes() + capacity_bytes(node_of_) + capacity_bytes(depth_) +
      capacity_bytes(neighbors_) + capacity_bytes(first_) + capacity_bytes(candidate_atoms_) +
      capacity_bytes(candidate_nodes_) + capacity_bytes(labels_) + capacity_bytes(kept_types_) +
      cells_.bytes();
}

int GraphBuilder::add_node(int atom, const int *type, const std::vector<int> &type_map, int depth)
{
  const int t = type_map[static_cast<std::size_t>(type[atom])];
  if (t < 0) return -1;
  const auto node = static_cast<int>(graph_.atoms.size());
  node_of_[static_cast<std::size_t>(atom)] = node;
  graph_.atoms.push_back(atom);
  graph_.types.push_back(t);
  depth_.push_back(depth);
  return node;
}

// Nodes for the centres (null: all owned atoms), and for ghosts that are exchanged.
void GraphBuilder::add_nodes(const int *type, const int *centers, int count, int nlocal, int nall,
                             const std::vector<int> &type_map, Ghosts ghosts, const int *owner)
{
  Graph &g = graph_;
  g.atoms.clear();
  g.types.clear();
  depth_.clear();
  node_of_.assign(static_cast<std::size_t>(nall), -1);
  for (int ii = 0; ii < count; ++ii) add_node(centers ? centers[ii] : ii, type, type_map, 0);
  g.owned = static_cast<int>(g.atoms.size());
  g.only_owned = ghosts == Ghosts::exchange;
  if (ghosts == Ghosts::halo) return;
  for (int i = nlocal; i < nall; ++i) {
    if (ghosts == Ghosts::exchange && owner[i] == i)
      add_node(i, type, type_map, 1);    // all: a ghost may hand on to others what it receives
    else
      node_of_[static_cast<std::size_t>(i)] = node_of_[static_cast<std::size_t>(owner[i])];
  }
}

const Graph &GraphBuilder::place(const int *type, int nlocal, int nall,
                                 const std::vector<int> &type_map, Ghosts ghosts, const int *owner,
                                 bool &fresh)
{
  fresh = fresh || stale_ || !same_nodes(type, nlocal, type_map, ghosts);
  stale_ = false;
  renewed_ = fresh;
  if (!fresh) return graph_;
  add_nodes(type, nullptr, nlocal, nlocal, nall, type_map, ghosts, owner);
  if (ghosts == Ghosts::halo)
    for (int i = nlocal; i < nall; ++i) add_node(i, type, type_map, 1);
  graph_.nodes = static_cast<int>(graph_.atoms.size());
  near_ghosts_.assign(static_cast<std::size_t>(graph_.nodes - graph_.owned), 1);
  kept_types_.assign(type, type + nall);
  return graph_;
}

// Candidates of a centre without those that are excluded; returns their end.
std::size_t GraphBuilder::leave_out(const double *x, int center, std::size_t begin, std::size_t end)
{
  std::size_t kept = begin;
  const double *xi = x + 3 * static_cast<std::size_t>(center);
  for (std::size_t c = begin; c < end; ++c) {
    const int j = candidate_atoms_[c];
    if (hidden_->excludes(center, j)) {
      const double *xj = x + 3 * static_cast<std::size_t>(j);
      const double d[3] = {xj[0] - xi[0], xj[1] - xi[1], xj[2] - xi[2]};
      if (hidden_->nearest(d, doubtful_)) continue;
    }
    candidate_atoms_[kept] = j;
    candidate_nodes_[kept++] = candidate_nodes_[c];
  }
  return kept;
}

// Nodes and candidate pairs, for the ways with ghosts in which nodes do not depend on positions.
void GraphBuilder::collect(const double *x, const int *type, int nlocal, int nall,
                           const std::vector<int> &type_map, const NeighborView &list,
                           Ghosts ghosts, const int *owner)
{
  Graph &g = graph_;
  const bool by_cells = list.range > 0.0;
  add_nodes(type, by_cells ? nullptr : list.ilist, by_cells ? nlocal : list.inum, nlocal, nall,
            type_map, ghosts, owner);
  const bool halo = ghosts == Ghosts::halo;
  if (by_cells) {
    if (halo) {    // nodes of ghosts are made where they are needed
      labels_.resize(static_cast<std::size_t>(nall));
      for (int i = 0; i < nall; ++i)
        labels_[static_cast<std::size_t>(i)] =
            type_map[static_cast<std::size_t>(type[i])] < 0 ? -1 : i;
    }
    cells_.sort(x, halo ? labels_.data() : node_of_.data(), nall, list.range);
  }
  near_ghosts_.assign(g.atoms.size() - static_cast<std::size_t>(g.owned), 0);

  doubtful_ = false;
  first_.assign(1, 0);
  std::size_t at = 0;
  for (int n = 0; n < g.owned; ++n) {
    const int i = g.atoms[static_cast<std::size_t>(n)];
    if (by_cells) {
      std::size_t next = cells_.near(i, candidate_atoms_, candidate_nodes_, at);
      if (hidden_) next = leave_out(x, i, at, next);
      for (; halo && at < next; ++at) {
        const int j = candidate_atoms_[at];
        int node = node_of_[static_cast<std::size_t>(j)];
        if (node < 0) node = add_node(j, type, type_map, 1);
        candidate_nodes_[at] = node;
      }
      at = next;
    } else {
      const int *neighbors = list.firstneigh[i];
      const auto count = static_cast<std::size_t>(list.numneigh[i]);
      if (candidate_atoms_.size() < at + count) candidate_atoms_.resize(2 * (at + count));
      if (candidate_nodes_.size() < at + count) candidate_nodes_.resize(2 * (at + count));
      for (std::size_t jj = 0; jj < count; ++jj) {
        const int j = neighbors[jj] & list.mask;
        int node = node_of_[static_cast<std::size_t>(j)];
        if (node < 0 && halo) node = add_node(j, type, type_map, 1);
        if (node < 0) continue;
        candidate_atoms_[at] = j;
        candidate_nodes_[at++] = node;
      }
      if (hidden_) at = leave_out(x, i, first_.back(), at);
    }
    first_.push_back(at);
  }
  if (g.only_owned)
    for (std::size_t k = 0; k < at; ++k)
      if (candidate_nodes_[k] >= g.owned)
        near_ghosts_[static_cast<std::size_t>(candidate_nodes_[k] - g.owned)] = 1;
  if (candidate_atoms_.size() < at + spare) candidate_atoms_.resize(at + spare);
  std::fill_n(candidate_atoms_.begin() + static_cast<std::ptrdiff_t>(at), spare, 0);
  g.nodes = static_cast<int>(g.atoms.size());
  kept_types_.assign(type, type + nall);
}

// Takes the types of the nodes as they are now (fixes may change them); false where an atom has
// become a node or ceased to be one.
bool GraphBuilder::same_nodes(const int *type, int nlocal, const std::vector<int> &type_map,
                              Ghosts ghosts)
{
  Graph &g = graph_;
  g.types.resize(static_cast<std::size_t>(g.nodes));
  if (std::equal(kept_types_.begin(), kept_types_.end(), type)) return true;
  kept_types_.assign(type, type + node_of_.size());
  for (int n = 0; n < g.nodes; ++n) {
    const auto node = static_cast<std::size_t>(n);
    const int t = type_map[static_cast<std::size_t>(type[g.atoms[node]])];
    if (t < 0) return false;
    g.types[node] = t;
  }
  if (std::all_of(type_map.begin() + 1, type_map.end(), [](int t) { return t >= 0; })) return true;
  if (ghosts == Ghosts::halo) return false;    // which ghosts were left out is not kept
  const int atoms = ghosts == Ghosts::exchange ? static_cast<int>(node_of_.size()) : nlocal;
  for (int i = 0; i < atoms; ++i)
    if (node_of_[static_cast<std::size_t>(i)] < 0 &&
        type_map[static_cast<std::size_t>(type[i])] >= 0)
      return false;
  return true;
}

// The candidates within the cutoff. Neighbours are written behind the room for the centres, whose
// runs pad() fills in.
void GraphBuilder::select(const double *x, bool room)
{
  Graph &g = graph_;
  const std::size_t most = first_.back() + spare;    // pad() needs two of them
  renew(g.rows, 2 * most);
  g.start = most;
  g.offsets.resize(static_cast<std::size_t>(g.owned) + 1);
  const Candidates pairs{x,
                         g.atoms.data(),
                         static_cast<std::size_t>(g.owned),
                         first_.data(),
                         candidate_atoms_.data(),
                         candidate_nodes_.data(),
                         room};
  const auto edges_of = [&](auto loop, auto &vectors) {
    renew(vectors, 3 * most);
    return loop(pairs, scale_, cutoff_ * cutoff_, g.offsets.data(), g.rows.data() + most,
                vectors.data());
  };
  const PairLoops &loops = pair_loops();
  g.edges = g.form.single ? edges_of(loops.select_single, g.singles)
                          : edges_of(loops.select, g.vectors);
}

// Nodes and edges of a halo of several steps: both depend on positions.
template <bool hides>
void GraphBuilder::follow(const double *x, const int *type, int nall,
                          const std::vector<int> &type_map, const NeighborView &list, int reach)
{
  Graph &g = graph_;
  g.atoms.clear();
  g.types.clear();
  g.offsets.assign(1, 0);
  g.vectors.clear();
  depth_.clear();
  neighbors_.clear();
  node_of_.assign(static_cast<std::size_t>(nall), -1);
  for (int ii = 0; ii < list.inum; ++ii) add_node(list.ilist[ii], type, type_map, 0);
  g.owned = static_cast<int>(g.atoms.size());
  g.only_owned = false;

  const double cutsq = cutoff_ * cutoff_;
  // nodes come in the order of their depth, and grow while the loop runs
  for (int n = 0; n < static_cast<int>(g.atoms.size()); ++n) {
    const int depth = depth_[static_cast<std::size_t>(n)];
    if (depth >= reach) break;
    const int i = g.atoms[static_cast<std::size_t>(n)];
    const double *xi = x + 3 * static_cast<std::size_t>(i);
    const int *neighbors = list.firstneigh[i];
    for (int jj = 0; jj < list.numneigh[i]; ++jj) {
      const int j = neighbors[jj] & list.mask;
      const double *xj = x + 3 * static_cast<std::size_t>(j);
      const double dx = (xj[0] - xi[0]) * scale_;
      const double dy = (xj[1] - xi[1]) * scale_;
      const double dz = (xj[2] - xi[2]) * scale_;
      const double rsq = dx * dx + dy * dy + dz * dz;
      if (rsq >= cutsq) continue;
      if constexpr (hides) {
        const double d[3] = {xj[0] - xi[0], xj[1] - xi[1], xj[2] - xi[2]};
        if (hidden_->excludes(i, j) && hidden_->nearest(d, doubtful_)) continue;
      }
      int node = node_of_[static_cast<std::size_t>(j)];
      if (node < 0) node = add_node(j, type, type_map, depth + 1);
      if (node < 0) continue;
      neighbors_.push_back(node);
      g.vectors.push_back(dx);
      g.vectors.push_back(dy);
      g.vectors.push_back(dz);
    }
    g.offsets.push_back(static_cast<std::int64_t>(neighbors_.size()));
  }
  g.nodes = static_cast<int>(g.atoms.size());
  g.edges = neighbors_.size();
  g.start = g.edges + spare;
  grow(g.rows, 2 * g.start);
  std::copy(neighbors_.begin(), neighbors_.end(),
            g.rows.begin() + static_cast<std::ptrdiff_t>(g.start));
  if (!g.form.single) return;
  grow(g.singles, g.vectors.size());
  std::transform(g.vectors.begin(), g.vectors.end(), g.singles.begin(),
                 [](double c) { return static_cast<float>(c); });
}

// Two beads further apart than the cutoff where a graph is too small; the row of centres.
void GraphBuilder::pad(Ghosts ghosts)
{
  Graph &g = graph_;
  const bool needed = g.nodes > 0 || ghosts == Ghosts::exchange;
  const std::size_t added = needed && (g.nodes < 2 || g.edges < 2) ? 2 : 0;
  g.padded_edges = g.edges + added;
  g.with_vectors([&](auto &vectors) { grow(vectors, 3 * g.padded_edges); });
  // centres without edges: ghosts
  g.offsets.resize(static_cast<std::size_t>(g.nodes) + 1, static_cast<std::int64_t>(g.edges));
  for (std::size_t k = 0; k < added; ++k) {
    const std::size_t edge = g.edges + k;
    g.types.push_back(g.nodes > 0 ? g.types[0] : 0);
    g.offsets.push_back(static_cast<std::int64_t>(edge + 1));
    g.rows[g.start + edge] = g.nodes + 1 - static_cast<std::int64_t>(k);
    g.with_vectors([&](auto &vectors) {
      using Number = typename std::decay_t<decltype(vectors)>::value_type;
      vectors[3 * edge] = static_cast<Number>(k == 0 ? 2.0 * cutoff_ : -2.0 * cutoff_);
      vectors[3 * edge + 1] = vectors[3 * edge + 2] = 0;
    });
  }
  g.padded_nodes = static_cast<int>(g.types.size());
  g.computed = g.only_owned && added == 0 && g.owned >= 2 ? g.owned : g.padded_nodes;
  g.start -= g.padded_edges;
  if (!g.form.centers) return;
  std::int64_t *centers = g.rows.data() + g.start;
  // in blocks that run over into the next centres, which follow: faster than ending exactly
  constexpr std::int64_t block = 8;
  const auto padded = static_cast<std::int64_t>(g.padded_edges);
  for (std::size_t n = 0; n + 1 < g.offsets.size(); ++n) {
    std::int64_t e = g.offsets[n];
    for (; e < g.offsets[n + 1] && e + block <= padded; e += block)
      std::fill_n(centers + e, block, static_cast<std::int64_t>(n));
    for (; e < g.offsets[n + 1]; ++e) centers[e] = static_cast<std::int64_t>(n);
  }
}

const Graph &GraphBuilder::build(const double *x, const int *type, int nlocal, int nall,
                                 const std::vector<int> &type_map, const NeighborView &list,
                                 Ghosts ghosts, const int *owner, int reach, bool fresh)
{
  if (ghosts == Ghosts::halo && reach > 1) {
    if (hidden_)
      follow<true>(x, type, nall, type_map, list, reach);
    else
      follow<false>(x, type, nall, type_map, list, reach);
    stale_ = renewed_ = true;
  } else {
    renewed_ = fresh || stale_ || !same_nodes(type, nlocal, type_map, ghosts);
    if (renewed_) collect(x, type, nlocal, nall, type_map, list, ghosts, owner);
    stale_ = doubtful_;
    select(x, list.room);
  }
  pad(ghosts);
  return graph_;
}

void Tally::add(const Tally &other, double weight, bool first)
{
  const auto plus = [&](std::vector<double> &to, const std::vector<double> &from) {
    if (first) to.assign(from.size(), 0.0);
    for (std::size_t k = 0; k < from.size(); ++k) to[k] += weight * from[k];
  };
  plus(forces, other.forces);
  plus(virials, other.virials);
  for (int k = 0; k < 6; ++k) virial[k] = (first ? 0.0 : virial[k]) + weight * other.virial[k];
}

template <typename T> void Tally::sum(const Graph &graph, const T *gradient)
{
  const auto nodes = static_cast<std::size_t>(graph.nodes);
  forces.resize(3 * nodes);
  virials.assign(atom_virial ? 9 * nodes : 0, 0.0);
  for (double &w : virial) w = 0.0;

  const std::int64_t *neighbors = graph.neighbors();
  wide_.assign(4 * nodes, 0.0);
  const PairLoops &loops = pair_loops();
  if constexpr (std::is_same_v<T, float>)
    loops.sum_single(gradient, graph.offsets.data(), neighbors, nodes, wide_.data());
  else
    loops.sum(gradient, graph.offsets.data(), neighbors, nodes, wide_.data());
  for (std::size_t n = 0; n < nodes; ++n)
    for (std::size_t k = 0; k < 3; ++k) forces[3 * n + k] = wide_[4 * n + k];
  if (!total_virial && !atom_virial) return;

  for (std::size_t n = 0; n < nodes; ++n) {
    const auto end = static_cast<std::size_t>(graph.offsets[n + 1]);
    for (auto e = static_cast<std::size_t>(graph.offsets[n]); e < end; ++e) {
      double r[3], d[3];
      for (std::size_t k = 0; k < 3; ++k) {
        r[k] = graph.component(e, k);
        d[k] = static_cast<double>(gradient[3 * e + k]);
      }
      const double w[9] = {-r[0] * d[0], -r[1] * d[1], -r[2] * d[2], -r[0] * d[1], -r[0] * d[2],
                           -r[1] * d[2], -r[1] * d[0], -r[2] * d[0], -r[2] * d[1]};
      // the sum over edges is symmetric because the energy does not change under rotation
      for (int k = 0; k < 3; ++k) {
        virial[k] += w[k];
        virial[k + 3] += 0.5 * (w[k + 3] + w[k + 6]);
      }
      if (!atom_virial) continue;
      double *wi = &virials[9 * n];
      double *wj = &virials[9 * static_cast<std::size_t>(neighbors[e])];
      for (int k = 0; k < 9; ++k) {
        wi[k] += 0.5 * w[k];
        wj[k] += 0.5 * w[k];
      }
    }
  }
}

template void Tally::sum(const Graph &, const double *);
template void Tally::sum(const Graph &, const float *);

}    // namespace cgpot
