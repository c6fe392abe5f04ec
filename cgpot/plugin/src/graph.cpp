// SPDX-License-Identifier: GPL-2.0-or-later
#include "graph.h"

#include "edges.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>

namespace cgpot {

namespace {
template <typename T> std::size_t capacity_bytes(const std::vector<T> &v)
{
  return v.capacity() * sizeof(T);
}

// Buffers are not cut: growing again would fill them.
template <typename T> void grow(std::vector<T> &v, std::size_t length)
{
  if (v.size() < length) v.resize(length);
}
}    // namespace

std::size_t Graph::bytes() const
{
  return capacity_bytes(atoms) + capacity_bytes(types) + capacity_bytes(offsets) +
      capacity_bytes(rows) + capacity_bytes(vectors);
}

double Graph::length(std::size_t edge) const
{
  const double *r = &vectors[3 * edge];
  return std::sqrt(r[0] * r[0] + r[1] * r[1] + r[2] * r[2]);
}

std::size_t Graph::shortest() const
{
  std::size_t found = 0;
  for (std::size_t e = 1; e < edges; ++e)
    if (length(e) < length(found)) found = e;
  return found;
}

GraphBuilder::GraphBuilder(double cutoff, double length_scale) :
    cutoff_(cutoff), scale_(length_scale)
{
  if (!(cutoff > 0.0) || !(length_scale > 0.0))
    throw std::invalid_argument("cutoff and length scale of a graph must be positive");
}

std::size_t GraphBuilder::bytes() const
{
  return graph_.bytes() + capacity_bytes(node_of_) + capacity_bytes(depth_) +
      capacity_bytes(neighbors_) + capacity_bytes(first_) + capacity_bytes(candidate_atoms_) +
      capacity_bytes(candidate_nodes_) + capacity_bytes(near_) + cells_.bytes();
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
    if (owner[i] == i)    // all: a ghost may hand on to other ghosts what it receives
      add_node(i, type, type_map, 1);
    else if (ghosts == Ghosts::exchange)
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
  for (int i = nlocal; i < nall; ++i) {
    int &node = node_of_[static_cast<std::size_t>(i)];
    if (ghosts == Ghosts::halo)
      add_node(i, type, type_map, 1);
    else if (ghosts == Ghosts::image)
      node = node_of_[static_cast<std::size_t>(owner[i])];
  }
  graph_.nodes = static_cast<int>(graph_.atoms.size());
  near_ghosts_.assign(static_cast<std::size_t>(graph_.nodes - graph_.owned), 1);
  return graph_;
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
  if (by_cells) cells_.sort(x, nall, list.range);
  near_ghosts_.assign(g.atoms.size() - static_cast<std::size_t>(g.owned), 0);

  first_.assign(1, 0);
  std::size_t at = 0;
  for (int n = 0; n < g.owned; ++n) {
    const int i = g.atoms[static_cast<std::size_t>(n)];
    const int *neighbors = nullptr;
    std::size_t count = 0;
    if (by_cells) {
      count = cells_.near(i, near_, 0);
      neighbors = near_.data();
    } else {
      count = static_cast<std::size_t>(list.numneigh[i]);
      neighbors = list.firstneigh[i];
    }
    if (candidate_atoms_.size() < at + count) {
      candidate_atoms_.resize(2 * (at + count));
      candidate_nodes_.resize(candidate_atoms_.size());
    }
    int *atoms = candidate_atoms_.data(), *nodes = candidate_nodes_.data();
    for (std::size_t jj = 0; jj < count; ++jj) {
      const int j = neighbors[jj] & list.mask;
      const int atom = ghosts == Ghosts::halo ? j : owner[j];
      int node = node_of_[static_cast<std::size_t>(atom)];
      if (node < 0 && ghosts == Ghosts::halo) node = add_node(atom, type, type_map, 1);
      if (node < 0) continue;
      if (node >= g.owned && g.only_owned)
        near_ghosts_[static_cast<std::size_t>(node - g.owned)] = 1;
      atoms[at] = j;
      nodes[at++] = node;
    }
    first_.push_back(at);
  }
  g.nodes = static_cast<int>(g.atoms.size());
}

// Takes the types of the nodes as they are now (fixes may change them); false where an atom has
// become a node or ceased to be one.
bool GraphBuilder::same_nodes(const int *type, int nlocal, const std::vector<int> &type_map,
                              Ghosts ghosts)
{
  Graph &g = graph_;
  g.types.resize(static_cast<std::size_t>(g.nodes));
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
void GraphBuilder::select(const double *x)
{
  Graph &g = graph_;
  const std::size_t most = first_.back() + spare;    // pad() needs two of them
  grow(g.rows, 2 * most);
  grow(g.vectors, 3 * most);
  g.start = most;
  g.offsets.assign(1, 0);

  const PairLoops &loops = pair_loops();
  const double cutsq = cutoff_ * cutoff_;
  g.edges = 0;
  for (int n = 0; n < g.owned; ++n) {
    const auto node = static_cast<std::size_t>(n);
    const std::size_t first = first_[node];
    g.edges += loops.select(x, x + 3 * static_cast<std::size_t>(g.atoms[node]), scale_, cutsq,
                            candidate_atoms_.data() + first, candidate_nodes_.data() + first,
                            first_[node + 1] - first, g.rows.data() + most + g.edges,
                            g.vectors.data() + 3 * g.edges);
    g.offsets.push_back(static_cast<std::int64_t>(g.edges));
  }
}

// Nodes and edges of a halo of several steps: both depend on positions.
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
}

// Two beads further apart than the cutoff where a graph is too small; the row of centres.
void GraphBuilder::pad(Ghosts ghosts)
{
  Graph &g = graph_;
  const bool needed = g.nodes > 0 || ghosts == Ghosts::exchange;
  const std::size_t added = needed && (g.nodes < 2 || g.edges < 2) ? 2 : 0;
  g.padded_edges = g.edges + added;
  grow(g.vectors, 3 * g.padded_edges);
  // centres without edges: ghosts
  g.offsets.resize(static_cast<std::size_t>(g.nodes) + 1, static_cast<std::int64_t>(g.edges));
  for (std::size_t k = 0; k < added; ++k) {
    const std::size_t edge = g.edges + k;
    g.types.push_back(g.nodes > 0 ? g.types[0] : 0);
    g.offsets.push_back(static_cast<std::int64_t>(edge + 1));
    g.rows[g.start + edge] = g.nodes + 1 - static_cast<std::int64_t>(k);
    g.vectors[3 * edge] = k == 0 ? 2.0 * cutoff_ : -2.0 * cutoff_;
    g.vectors[3 * edge + 1] = g.vectors[3 * edge + 2] = 0.0;
  }
  g.padded_nodes = static_cast<int>(g.types.size());
  g.computed = g.only_owned && added == 0 && g.owned >= 2 ? g.owned : g.padded_nodes;
  g.start -= g.padded_edges;
  std::int64_t *centers = g.rows.data() + g.start;
  for (std::size_t n = 0; n + 1 < g.offsets.size(); ++n)
    std::fill(centers + g.offsets[n], centers + g.offsets[n + 1], static_cast<std::int64_t>(n));
}

const Graph &GraphBuilder::build(const double *x, const int *type, int nlocal, int nall,
                                 const std::vector<int> &type_map, const NeighborView &list,
                                 Ghosts ghosts, const int *owner, int reach, bool fresh)
{
  if (ghosts == Ghosts::halo && reach > 1) {
    follow(x, type, nall, type_map, list, reach);
    stale_ = renewed_ = true;
  } else {
    renewed_ = fresh || stale_ || !same_nodes(type, nlocal, type_map, ghosts);
    if (renewed_) collect(x, type, nlocal, nall, type_map, list, ghosts, owner);
    stale_ = false;
    select(x);
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

void Tally::sum(const Graph &graph, const double *gradient)
{
  forces.resize(3 * static_cast<std::size_t>(graph.nodes));
  virials.assign(atom_virial ? 9 * static_cast<std::size_t>(graph.nodes) : 0, 0.0);
  for (double &w : virial) w = 0.0;

  const std::int64_t *centers = graph.centers();
  const std::int64_t *neighbors = graph.neighbors();
  wide_.assign(4 * static_cast<std::size_t>(graph.nodes), 0.0);
  pair_loops().sum(gradient, graph.offsets.data(), neighbors, static_cast<std::size_t>(graph.nodes),
                   wide_.data());
  for (std::size_t n = 0; n < static_cast<std::size_t>(graph.nodes); ++n)
    for (std::size_t k = 0; k < 3; ++k) forces[3 * n + k] = wide_[4 * n + k];
  if (!total_virial && !atom_virial) return;

  for (std::size_t e = 0; e < graph.edges; ++e) {
    const double *r = &graph.vectors[3 * e];
    const double *d = gradient + 3 * e;
    const double w[9] = {-r[0] * d[0], -r[1] * d[1], -r[2] * d[2], -r[0] * d[1], -r[0] * d[2],
                         -r[1] * d[2], -r[1] * d[0], -r[2] * d[0], -r[2] * d[1]};
    // the sum over edges is symmetric because the energy does not change under rotation
    for (int k = 0; k < 3; ++k) {
      virial[k] += w[k];
      virial[k + 3] += 0.5 * (w[k + 3] + w[k + 6]);
    }
    if (!atom_virial) continue;
    double *wi = &virials[9 * static_cast<std::size_t>(centers[e])];
    double *wj = &virials[9 * static_cast<std::size_t>(neighbors[e])];
    for (int k = 0; k < 9; ++k) {
      wi[k] += 0.5 * w[k];
      wj[k] += 0.5 * w[k];
    }
  }
}

}    // namespace cgpot
